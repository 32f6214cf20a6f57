"""What one teacher costs: its fine-tuning, its pass over the training rows, its cache, its own evaluation."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mmkd.config.plugin_base import Finetune
from mmkd.data.corpus import Corpus
from mmkd.data.sampling import batches_per_epoch
from mmkd.plan.facts import ArrayPlan, CachePlan, FinetunePlan, Number, TeacherPlan
from mmkd.plan.known import Known, Storing, evaluated, in_cache
from mmkd.plan.passes import Passes, try_passes
from mmkd.plan.trial import try_training
from mmkd.teach import finetune_settings, learners
from mmkd.train import BY_SIZE
from mmkd.watch.stopwatch import Stopwatch
from mmkd.workspace import Workspace


@dataclass(frozen=True)
class Costed:
    """A teacher's plan, and what other choices are computed from.

    used: whether a loss asks it about the training rows. reading: seconds of a row from the cache; None when not timed.
    """

    plan: TeacherPlan
    used: bool
    passes: Passes
    storing: Storing
    reading: float | None

    def arrays(self, dtype: str, rows: int, words: int, parts: int) -> tuple[ArrayPlan, ...]:
        """What is stored of so many rows and words of as many splits."""
        return self.storing.arrays(self.passes.outputs, dtype, rows, words, parts)


def plan_teacher(workspace: Workspace, known: Known, views: Sequence[Corpus], used: bool, measure: bool) -> Costed:
    """The cost of a teacher, which is frozen afterwards.

    views: the training rows, in each view that a cache holds. used: whether a loss asks the teacher about them.

    One that is not trained yet is measured as it is before: training changes its weights, not its cost.
    """
    teacher, device = known.teacher, workspace.accelerator.device
    tasks = list(teacher.tasks)
    finetune = None if known.training is None else _finetune(workspace, known, *known.training, measure)
    teacher.freeze()
    bar = workspace.follow(f"try passes of {teacher.name}")
    corpus = workspace.training(teacher.readers)
    storing = Storing.of(workspace, teacher, corpus)
    passes = try_passes(teacher, corpus, device, measure, bar, storing.narrow)
    validation, test = evaluated(workspace, tasks)
    rows = len(validation) + test
    plan = TeacherPlan(
        name=teacher.name,
        kind=teacher.config.kind,
        parameters=sum(p.numel() for p in teacher.parameters()),
        finetune=finetune,
        cache=_cache(workspace, known, views, passes, storing)
        if used and known.network and workspace.experiment.train.cache
        else None,
        flops_per_sample=Number(passes.flops, "measured") if known.network else None,
        evaluation_rows=rows,
        evaluation_seconds=None if passes.seconds is None else Number(rows * passes.seconds, "estimated"),
    )
    reading = _reading(storing.narrow(passes.outputs), len(passes.outputs.speaks), device) if measure else None
    return Costed(plan, used and known.network, passes, storing, reading)


def _finetune(workspace: Workspace, known: Known, training: Finetune, folder: Path, measure: bool) -> FinetunePlan:
    teacher = known.teacher
    settings, tasks = finetune_settings(training), list(teacher.tasks)
    found = known.identity is not None
    corpus = workspace.mix.split("train", teacher.readers, tasks)
    batches = batches_per_epoch(corpus.sizes(), settings.batch_size, BY_SIZE)
    steps = math.ceil(batches / settings.accumulate)
    seconds: Number | None = Number(0.0, "exact") if found else None
    if measure and not found:
        validation = workspace.mix.split("validation", teacher.readers, tasks)
        bar = workspace.follow(f"try fine-tuning {teacher.name}")
        seed = training.seed
        trial = try_training(
            learners(teacher), lambda epoch: corpus, validation, settings, seed, workspace.accelerator, True, bar
        )
        evaluation = try_passes(teacher, validation, workspace.accelerator.device, True, lambda done, total: None)
        assert evaluation.seconds is not None  # it was timed
        epoch = sum(trial.seconds.values()) * len(corpus) + evaluation.seconds * len(validation)
        seconds = Number(settings.epochs * epoch, "estimated")
    return FinetunePlan(found, os.path.relpath(folder), settings.epochs, settings.epochs * steps, seconds)


def _cache(workspace: Workspace, known: Known, views: Sequence[Corpus], passes: Passes, storing: Storing) -> CachePlan:
    dtype = workspace.experiment.train.cache_dtype
    rows, words = sum(len(view) for view in views), sum(int(view.words().sum()) for view in views)
    splits = [(split, int(size)) for view in views for split, size in zip(view.splits, _sizes(view), strict=True)]
    found = sum(size for split, size in splits if in_cache(workspace, known, split, dtype))
    stored = storing.arrays(passes.outputs, dtype, rows, words, len(splits))
    seconds = None if passes.seconds is None else Number((rows - found) * passes.seconds, "estimated")
    return CachePlan(
        splits=tuple(f"{split.data}/{split.split}" for split in views[0].splits),
        views=len(views),
        dtype=dtype,
        rows=rows,
        words=words,
        found_rows=found,
        passes=rows - found,
        arrays=stored,
        bytes=Number(sum(array.bytes for array in stored), "exact"),
        seconds=Number(0.0, "exact") if found == rows else seconds,
    )


def _sizes(corpus: Corpus) -> list[int]:
    return [int(end - start) for start, end in zip(corpus.starts[:-1], corpus.starts[1:], strict=True)]


def _reading(kept: Mapping[str, Tensor], rows: int, device: torch.device) -> float:
    """Seconds of a row to bring to the device, as float32, what is stored of a batch."""
    stopwatch = Stopwatch(device)
    stopwatch.begin("reading")
    for values in kept.values():
        values.to(device).float()
    stopwatch.begin("")
    return stopwatch.seconds["reading"] / rows
