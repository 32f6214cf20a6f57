"""Teachers made ready: fine-tuned once, found again by the hash of what made them, frozen, and cached.

A teacher that lacks the heads for its tasks is trained with the same loop as the student, on the labelled rows of
the `train` splits; validation chooses its epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmkd import checkpoint
from mmkd.arrays import code_hash
from mmkd.cache.store import Making, cached
from mmkd.config import plugins
from mmkd.config.experiment import Train
from mmkd.data.corpus import Corpus
from mmkd.environment import package_versions
from mmkd.losses.base import Setting
from mmkd.objective import Terms
from mmkd.record import hash_of
from mmkd.teachers.base import Speaker, Teacher
from mmkd.train import Players, mix, train
from mmkd.workspace import Workspace

SOURCE = Path(__file__).parent
CODE = (
    *("types.py", "data/encode.py", "data/tokens.py", "data/pixels.py", "data/corpus.py", "data/batches.py"),
    *("data/relabel.py", "data/sampling.py"),
    *("encoders", "teachers/base.py"),
    *("tasks/base.py", "tasks/_cross_entropy.py", "tasks/_metrics.py", "losses/base.py", "losses/supervised.py"),
    *("weighting/base.py", "weighting/fixed.py", "objective.py", "train.py", "evaluate.py", "teach.py"),
)
"""What a teacher's weights and stored outputs depend on, beside its own kind and those of its tasks."""

UNREAD = {"_name_or_path", "transformers_version", "architectures"}
"""Keys of a model's config that say where it came from, and change nothing."""


@dataclass(frozen=True)
class Prepared:
    """A frozen teacher. identity: what determines its outputs, by name. facts: of its training, for its record."""

    teacher: Teacher
    identity: dict[str, str]
    facts: dict[str, Any]
    folder: Path


@dataclass(frozen=True)
class Untrained:
    """A teacher before it is fine-tuned. made_from: what determines the trained one, by name; folder: where it lies."""

    teacher: Teacher
    made_from: dict[str, Any]
    folder: Path


def untrained(workspace: Workspace, name: str) -> Untrained:
    """The network of that name as fine-tuning starts from it, and where its trained weights are looked for."""
    config = workspace.experiment.teachers[name]
    plugin = plugins.load("teachers", config.kind)
    tasks = {task: workspace.tasks[task] for task in config.tasks}
    readers = workspace.reader(name)
    torch.manual_seed(mix(config.finetune.seed))
    teacher: Teacher = plugin.Teacher(config, name, tasks, readers)
    made_from = {
        "start": checkpoint.weights_hash(teacher.state_dict()),  # pretrained ones too, wherever they came from
        "networks": _networks(teacher),
        "config": config.model_dump(mode="json", by_alias=True, exclude={"layers"}),
        "tasks": {t: [task.config.model_dump(mode="json"), task.labels] for t, task in tasks.items()},
        "data": [workspace.mix.fingerprint(split, config.tasks) for split in ("train", "validation")],
        "labels": {m.name: {t: m.labels(t) for t in config.tasks if t in m.tasks} for m in workspace.mix.members},
        "readers": _reads(workspace, name),
        "code": _code_of(workspace, name),
        "packages": {k: v for k, v in package_versions().items() if k in {"torch", "transformers", "timm"}},
    }
    return Untrained(teacher, made_from, workspace.places.teachers / f"{name}-{hash_of(made_from)[:16]}")


def prepare(workspace: Workspace, name: str) -> Prepared:
    """The teacher of that name, fine-tuned if it has not been yet.

    Raises CheckpointError when the weights found are damaged.
    """
    start = untrained(workspace, name)
    teacher, made_from, folder = start.teacher, start.made_from, start.folder
    if not checkpoint.exists(folder):
        facts = _finetune(workspace, teacher, folder)
        checkpoint.save(folder, teacher.state_dict(), facts)
    weights, facts, sha256 = checkpoint.load(folder)
    teacher.load_state_dict(weights)
    teacher.to(workspace.accelerator.device)
    teacher.freeze()
    identity = {
        "weights": sha256,
        "code": made_from["code"],
        "config": hash_of(made_from["config"]),
        "reads": hash_of(made_from["readers"]),
        "networks": hash_of(made_from["networks"]),
        "classes": hash_of(made_from["tasks"]),
        "layers": str(list(teacher.config.layers)),
        "packages": hash_of(made_from["packages"]),
        "device": workspace.accelerator.device.type,
    }
    return Prepared(teacher, identity, facts, folder)


def speakers(workspace: Workspace, prepared: Mapping[str, Prepared], share: float | None = None) -> dict[str, Speaker]:
    """The teachers that the losses use, cached or live. The cache holds every view that the experiment has.

    share: of the rows, those that each teacher is asked about again; None for the few that each use asks for.
    """
    settings, augment = workspace.experiment.train, workspace.experiment.augment
    used = sorted({needs.teacher for loss in workspace.experiment.losses.values() for needs in loss.teacher_needs()})
    if not settings.cache:
        return {name: prepared[name].teacher for name in used}
    views = (augment.views or 1) if augment is not None else 1
    found: dict[str, Speaker] = {}
    for name in used:
        corpora = [workspace.training(workspace.reader(name), view) for view in range(views)]
        bar = workspace.follow(f"cache {name}")
        making = making_of(workspace, bar)
        # The rows that are asked for again are others on each use; no result depends on them.
        fresh = np.random.default_rng()
        found[name] = cached(prepared[name].teacher, prepared[name].identity, corpora, making, fresh, share)
        bar(1, 1)
    return found


def making_of(workspace: Workspace, progress: Callable[[int, int], None]) -> Making:
    """How the experiment's cache is made. progress: called with rows done and in all."""
    settings = workspace.experiment.train
    return Making(
        folder=workspace.places.cache / "teachers",
        dtype=settings.cache_dtype,
        device=workspace.accelerator.device,
        say=partial(workspace.progress.console.print, markup=False, highlight=False, soft_wrap=True),
        progress=progress,
        logits_top=settings.cache_logits_top,
        features=settings.cache_features,
    )


def _always(corpus: Corpus, epoch: int) -> Corpus:
    return corpus


def learners(teacher: Teacher) -> Players:
    """Who takes part in the fine-tuning of a teacher: the teacher, by the supervised loss of each of its tasks."""
    supervised = plugins.load("losses", "supervised")
    setting = Setting(teacher.tasks, teacher.shape, {})
    terms = Terms({t: supervised.Loss(supervised.Config(task=t), setting) for t in teacher.tasks})
    fixed = plugins.load("weighting", "fixed")
    return Players(teacher, {}, terms, fixed.Weighting(fixed.Config(), list(teacher.tasks)), teacher.tasks)


def finetune_settings(teacher: Teacher) -> Train:
    """How the loop runs while it fine-tunes a teacher."""
    return Train(**teacher.config.finetune.model_dump(exclude={"seed"}))


def _finetune(workspace: Workspace, teacher: Teacher, folder: Path) -> dict[str, Any]:
    started = time.perf_counter()
    readers, tasks = teacher.readers, list(teacher.tasks)
    trained = train(
        learners(teacher),
        partial(_always, workspace.mix.split("train", readers, tasks)),
        workspace.mix.split("validation", readers, tasks),
        finetune_settings(teacher),
        teacher.config.finetune.seed,
        workspace.accelerator,
        folder.parent / "logs" / folder.name,
        progress=workspace.follow(f"fine-tune {teacher.name}"),
    )
    return {
        "epoch": trained.epoch,
        "value": trained.value,
        "history": trained.history,
        "seconds": time.perf_counter() - started,
    }


def _networks(teacher: Teacher) -> list[Any]:
    """What the networks compute with their weights: their modules, and the configs of those that come from a folder."""
    configs: list[Any] = [module.config for module in teacher.modules() if hasattr(module, "config")]
    plain = [config.to_dict() for config in configs if hasattr(config, "to_dict")]  # transformers' own
    return [str(teacher), [{k: v for k, v in each.items() if k not in UNREAD} for each in plain]]


def _reads(workspace: Workspace, name: str) -> list[str]:
    readers = workspace.reader(name)
    text, image = readers.text.values(), readers.image.values()
    return [*(reader.identity for reader in text), *(reader.identity for reader in image)]


def _code_of(workspace: Workspace, name: str) -> str:
    config = workspace.experiment.teachers[name]
    kinds = {Path(str(plugins.load("teachers", config.kind).__file__))}
    kinds |= {Path(str(plugins.load("tasks", workspace.tasks[t].config.kind).__file__)) for t in config.tasks}
    return code_hash(*(SOURCE / part for part in CODE), *sorted(kinds))
