"""What the student costs: its step, its epoch, its evaluations, memory and disk. The teachers' part is beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from mmkd.data.batches import load, to_device
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.sampling import batches_per_epoch, rows_per_epoch, training_batches
from mmkd.environment import peak_memory
from mmkd.lora import without_lora
from mmkd.plan.facts import Memory, Number, StudentPlan
from mmkd.plan.known import evaluated
from mmkd.plan.passes import try_passes
from mmkd.plan.trial import TIMED, Trial, try_training
from mmkd.student.adapted import adapt, trained_parameters
from mmkd.student.student import READER
from mmkd.teachers.base import Speaker
from mmkd.train import Players, mix
from mmkd.watch.stopwatch import Stopwatch
from mmkd.workspace import Workspace


@dataclass(frozen=True)
class Costed:
    """The student's plan, and what other choices are computed from.

    teachers: seconds of a sample that live teachers take in training, their loading too; None when nothing was timed.
    """

    plan: StudentPlan
    teachers: float | None


def plan_student(
    workspace: Workspace, teachers: Mapping[str, Speaker], sizes: Mapping[str, int], views: Path, measure: bool
) -> Costed:
    """The cost of the student with these teachers, which run live while it is measured, and are then taken out.

    sizes: training rows of each data set. views: folder for a view that only one epoch reads.
    """
    experiment, device = workspace.experiment, workspace.accelerator.device
    settings = experiment.train
    players = make_players(workspace, teachers)
    kept = without_lora(players.network.state_dict())
    learns = trained_parameters(players.network)
    trial = try_student(workspace, players, views, measure)
    rows = sum(rows_per_epoch(sizes, experiment.mixing).values())
    batches = batches_per_epoch(sizes, settings.batch_size, experiment.mixing)
    seconds = dict(trial.seconds)
    live = seconds.pop("teachers", 0.0)
    if measure and teachers and not settings.workers:
        loading = _loading(workspace, views)
        live += max(0.0, seconds["loading"] - loading)
        seconds["loading"] = loading
    flops = {name: value for name, value in trial.flops.items() if name != "teachers" and value}
    epoch = final = None
    if measure:
        validation = workspace.mix.split("validation", workspace.reader(READER))
        passes = try_passes(players.network, validation, device, True, workspace.follow("try evaluation"))
        assert passes.seconds is not None  # it was timed
        _, test = evaluated(workspace, list(workspace.tasks))
        epoch = Number(rows * sum(seconds.values()) + len(validation) * passes.seconds, "estimated")
        final = Number((len(validation) + test) * passes.seconds, "estimated")
    plan = StudentPlan(
        parameters=sum(p.numel() for p in without_lora(dict(players.network.named_parameters())).values()),
        trained_parameters=learns,
        rows=rows,
        batches=batches,
        steps=math.ceil(batches / settings.accumulate),
        epochs=settings.epochs,
        seeds=len(experiment.seeds),
        flops_per_sample=flops,
        flops_per_epoch=Number(rows * sum(flops.values()), "estimated"),
        batch_seconds={name: value * rows / batches for name, value in seconds.items()} if measure else None,
        epoch_seconds=epoch,
        final_seconds=final,
        memory=memory_of(players, trial),
        disk_bytes=Number(len(experiment.seeds) * bytes_of(kept.values()), "exact"),
    )
    return Costed(plan, live if measure else None)


def without_teachers(workspace: Workspace) -> Workspace | None:
    """The same experiment with the student alone; None when no loss is left."""
    experiment = workspace.experiment
    losses = {name: loss for name, loss in experiment.losses.items() if not loss.teacher_needs()}
    student = experiment.student.model_copy(update={"heads": {}})
    alone = experiment.model_copy(update={"losses": losses, "teachers": {}, "student": student})
    return replace(workspace, experiment=alone) if losses else None


def make_players(workspace: Workspace, teachers: Mapping[str, Speaker]) -> Players:
    """A new student with new losses and a new weighting, as the first seed of a run has them."""
    torch.manual_seed(mix(workspace.experiment.seeds[0]))
    student = workspace.student(teachers)
    adapt(student, workspace.student_config.adapt)
    return Players(student, teachers, workspace.terms(student, teachers), workspace.weighting(), workspace.tasks)


def try_student(workspace: Workspace, players: Players, views: Path, measure: bool) -> Trial:
    """A few steps of the first seed."""
    experiment = workspace.experiment
    names = (READER, *players.teachers)
    readers = [workspace.reader(name) for name in names]
    together = Readers(
        {name: each for own in readers for name, each in own.text.items()},
        {name: each for own in readers for name, each in own.image.items()},
    )
    return try_training(
        players,
        lambda epoch: _rows(workspace, together, views, epoch),
        workspace.mix.split("validation", workspace.reader(READER)),
        experiment.train,
        experiment.seeds[0],
        workspace.accelerator,
        measure,
        workspace.follow("try training" if players.teachers else "try the student alone"),
        experiment.mixing,
        experiment.new_words,
    )


def _rows(workspace: Workspace, readers: Readers, views: Path, epoch: int) -> Corpus:
    augment = workspace.experiment.augment
    fresh = augment is not None and augment.views is None
    return workspace.training(readers, epoch, views if fresh else None)


def _loading(workspace: Workspace, views: Path) -> float:
    """Seconds of a sample to load what the student alone reads."""
    experiment, device = workspace.experiment, workspace.accelerator.device
    settings, seed = experiment.train, experiment.seeds[0]
    corpus = _rows(workspace, workspace.reader(READER), views, 0)
    batches = training_batches(corpus.words(), corpus.sizes(), settings.batch_size, experiment.mixing, seed, 0)
    chosen = batches[:TIMED]
    stopwatch = Stopwatch(device)
    stopwatch.begin("loading")
    for batch in load(corpus, chosen):
        to_device(batch, device)
    stopwatch.begin("")
    return stopwatch.seconds["loading"] / sum(len(rows) for rows in chosen)


def memory_of(players: Players, trial: Trial) -> Memory:
    """What training holds beside its activations: AdamW keeps two numbers for each that it trains, and the steps."""
    trainees = nn.ModuleList([players.network, players.terms, players.weighting])
    size = sum(trial.trained)
    peak = peak_memory() if trial.peak is None else trial.peak
    return Memory(
        parameters=bytes_of(trainees.parameters()),
        gradients=size,
        optimizer=2 * size + torch.float32.itemsize * len(trial.trained),
        peak=Number(peak, "measured") if trial.batches else None,
    )


def bytes_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of all values together."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
