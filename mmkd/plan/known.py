"""What the plan must know of `teach`, `workspace` and the cache: the only file of it that knows how they are made."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from mmkd import checkpoint
from mmkd.cache.entry import MANIFEST, key_of
from mmkd.cache.packing import DTYPES, Flat, Packing, flatten
from mmkd.cache.projection import feature_widths
from mmkd.cache.store import packing_of, parts_of
from mmkd.config.plugin_base import Finetune
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.encode import DataSplit
from mmkd.plan.facts import ArrayPlan
from mmkd.speakers import making_of
from mmkd.teach import Prepared, prepare, untrained
from mmkd.teachers.base import Teacher
from mmkd.types import Outputs
from mmkd.workspace import Workspace


@dataclass(frozen=True)
class Known:
    """A teacher before a run. training: how it is trained where it has to be, and the folder of its weights.

    identity: what determines its outputs; None while it is not trained. network: whether the cache holds what it says.
    """

    teacher: Teacher
    identity: Mapping[str, str] | None
    training: tuple[Finetune, Path] | None
    network: bool


def know_all(workspace: Workspace) -> dict[str, Known]:
    """Every teacher, on the device: trained if it was already, otherwise as training starts from it.

    Writes nothing. Raises CheckpointError when the weights found are damaged.
    """
    configs, ready, found = workspace.experiment.teachers, dict[str, Prepared](), dict[str, Known]()
    for name in sorted(configs, key=lambda each: bool(configs[each].speaks_for)):
        config, training, start = configs[name], None, None
        if config.training is not None:
            start = untrained(workspace, name, config.training)
            training = (config.training, start.folder)
        if start is not None and not checkpoint.exists(start.folder):
            teacher, identity = start.teacher.to(workspace.accelerator.device), None
            ready[name] = Prepared(partial(_given, teacher), {}, {})
        else:
            ready[name] = prepare(workspace, name, ready)
            teacher, identity = ready[name].teacher, ready[name].identity
        found[name] = Known(teacher, identity, training, config.network)
    return {name: found[name] for name in configs}


def _given(teacher: Teacher) -> Teacher:
    return teacher


def taught_views(workspace: Workspace) -> list[Corpus]:
    """The training rows in each view that a cache holds, without anybody's encoding of them."""
    augment = workspace.experiment.augment
    views = 1 if augment is None or augment.views is None else augment.views
    return [workspace.training(Readers({}, {}), view) for view in range(views)]


def in_cache(workspace: Workspace, known: Known, split: DataSplit, dtype: str) -> bool:
    """Whether what the teacher says about these rows is stored; never said of features that are made narrower."""
    settings = workspace.experiment.train
    if known.identity is None or settings.cache_features is not None:
        return False
    making = replace(making_of(workspace, lambda done, total: None), dtype=dtype)
    packing = packing_of(known.teacher, known.identity, Corpus([split], {}, Readers({}, {})), making)
    return (making.folder / key_of(parts_of(known.identity, split, making, packing)) / MANIFEST).exists()


@dataclass(frozen=True)
class Storing:
    """How a teacher's outputs are stored. width: to which wider features are projected; None: as they are.

    features: names of what can be projected.
    """

    packing: Packing
    width: int | None
    features: frozenset[str]

    @classmethod
    def of(cls, workspace: Workspace, teacher: Teacher, corpus: Corpus) -> Storing:
        """As the experiment says. corpus: rows of it."""
        features = workspace.experiment.train.cache_features
        making = replace(making_of(workspace, lambda done, total: None), features=None)  # a fit would be written
        width = None if features is None else features.width
        return cls(packing_of(teacher, {}, corpus, making), width, frozenset(feature_widths(teacher.shape)))

    def arrays(self, outputs: Outputs, dtype: str, rows: int, words: int, parts: int) -> tuple[ArrayPlan, ...]:
        """What is stored of so many rows and words, kept in so many parts, each with the offsets of its own rows."""
        found = [ArrayPlan("offsets", "int64", (), "row", 8 * (rows + parts))]
        for name, flat in self._packed(outputs).items():
            kept = DTYPES[dtype] if flat.values.is_floating_point() else flat.values.dtype
            shape = tuple(flat.values.shape[1:])
            if self.width is not None and name in self.features:
                shape = (*shape[:-1], min(shape[-1], self.width))
            size = math.prod(shape) * kept.itemsize * (words if flat.ragged else rows)
            per: Literal["row", "word"] = "word" if flat.ragged else "row"
            found.append(ArrayPlan(name, str(kept).removeprefix("torch."), shape, per, size))
        return tuple(found)

    def narrow(self, outputs: Outputs) -> dict[str, Tensor]:
        """The outputs in the type that is stored, on the CPU: the part of storing that takes time for each value."""
        return {name: self.packing.narrow(flat.values).cpu() for name, flat in self._packed(outputs).items()}

    def _packed(self, outputs: Outputs) -> dict[str, Flat]:
        return self.packing.pack(flatten(outputs, torch.ones_like(outputs.words)))


def evaluated(workspace: Workspace, tasks: Sequence[str]) -> tuple[Corpus, int]:
    """The validation rows of these tasks, which nobody reads yet, and the number of test rows, which stay closed."""
    validation = workspace.mix.split("validation", Readers({}, {}), tasks)
    test = 0
    for member in workspace.mix.members:
        if "test" in member.card.splits and set(tasks) & set(member.tasks):
            used = member.data.report().accounts["test"].used
            test += min(used, member.use.limit.get("test", used))
    return validation, test
