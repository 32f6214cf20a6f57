"""Image and text distilled with torchdistill 1.1.4's DistillationBox, with live teachers or its cached outputs.

The box takes one teacher, so both are one module. Its cache writes one file a row, keyed by the row's number alone
(the last four digits name the folder), and stacks what it reads: every text must be padded to one length.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, RandomSampler, default_collate

from benchmarks.peers.networks import (
    FULL,
    ImageOutput,
    Sizes,
    Student,
    StudentOutput,
    TeacherOutputs,
    Teachers,
    TextOutput,
    build,
    collate,
    distillation_loss,
    inputs_of,
    rows_of,
)
from benchmarks.peers.plain import LEARNING_RATE, LONGEST

if TYPE_CHECKING:
    from benchmarks.workload import Workload

TAUGHT = ("text_sentiment", "text_risk", "ner", "hidden", "image_sentiment", "image_risk", "pooled")
LEARNED = ("sentiment", "risk", "ner", "hidden", "pooled")


class Tapped(nn.Module):
    """A model whose outputs pass one identity each, so that forward hooks can take them by name."""

    def __init__(self, model: nn.Module, names: tuple[str, ...]) -> None:
        """Wrap a model; `names` are its taps."""
        super().__init__()
        self.model = model
        self.taps = nn.ModuleDict({name: nn.Identity() for name in names})


class TappedTeachers(Tapped):
    """Both teachers as one model."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Run both; the box wants one tensor as its output, here the text teacher's sentiment."""
        out = self.model(**inputs_of(batch))
        text, image = out.text, out.image
        values = (text.sentiment, text.risk, text.ner, text.hidden, image.sentiment, image.risk, image.pooled)
        for name, value in zip(TAUGHT, values, strict=True):
            self.taps[name](value)
        return text.sentiment


class TappedStudent(Tapped):
    """The student."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        """Run it; returns its sentiment logits."""
        out = self.model(**inputs_of(batch))
        for name in LEARNED:
            self.taps[name](getattr(out, name))
        return out.sentiment


class Terms(nn.Module):
    """All terms of the loss, read from what the hooks took; keeps the first value and counts rows."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        super().__init__()
        self.first: Tensor | None = None
        self.rows_seen = 0

    def forward(self, student: dict[str, Any], teacher: dict[str, Any], targets: dict[str, Tensor]) -> Tensor:
        """Sum of all terms of one batch, in nats."""
        learned = [student[f"taps.{name}"]["output"] for name in LEARNED]
        taught = [teacher[f"taps.{name}"]["output"] for name in TAUGHT]
        loss = distillation_loss(
            StudentOutput(*learned), TeacherOutputs(TextOutput(*taught[:4]), ImageOutput(*taught[4:])), targets
        )
        self.rows_seen += len(targets["sentiment"])
        if self.first is None:
            self.first = loss.detach()
        return loss


class Rows(Dataset[tuple[dict[str, np.ndarray], int]]):
    """The rows as pairs of a sample and a target, the form that torchdistill's wrappers expect."""

    def __init__(self, rows: list[dict[str, np.ndarray]]) -> None:
        """Keep the rows; their labels travel in the sample."""
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[dict[str, np.ndarray], int]:
        return self.rows[index], int(self.rows[index]["sentiment"])


Item = tuple[dict[str, np.ndarray], int, dict[str, Any]]
Collated = tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]


def _collate(items: list[Item], length: int | None) -> Collated:
    batch = collate([sample for sample, _, _ in items], length)
    return batch, batch, default_collate([supplement for _, _, supplement in items])


def benchmark_padded(items: list[Item]) -> Collated:
    """Pad every text to `LONGEST`; a named function, since torchdistill finds it by its name."""
    return _collate(items, LONGEST)


def benchmark_dynamic(items: list[Item]) -> Collated:
    """Pad to the batch's longest text."""
    return _collate(items, None)


class BoxArm:
    """Runs the box's training loop, as its examples write it, for one epoch at a time."""

    def __init__(
        self, workload: Workload, seed: int, batch_size: int, sizes: Sizes, *, cached: bool, padded: bool
    ) -> None:
        """Build networks and box; a cached arm keeps its files in a temporary folder that goes with it."""
        from torchdistill.core.distillation import DistillationBox
        from torchdistill.datasets.registry import register_collate_func

        logging.getLogger("torchdistill").setLevel(logging.WARNING)
        gather = benchmark_padded if padded else benchmark_dynamic
        register_collate_func(gather)
        self.student, self.teachers = build(sizes, seed)
        self.terms = Terms()
        self.generator = torch.Generator()
        self.seed = seed
        loader: dict[str, Any] = {
            "dataset_id": "train",
            "sampler": {"class_or_func": RandomSampler, "kwargs": {"generator": self.generator}},
            "collate_fn": gather.__name__,
            "kwargs": {"batch_size": batch_size, "num_workers": 0},
        }
        if cached:
            folder = tempfile.mkdtemp(prefix="box-arm-")
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            loader["cache_output"] = folder
        config = {
            "num_epochs": 1,
            "train_data_loader": loader,
            "teacher": self._model_config(TAUGHT) | {"requires_grad": False},
            "student": self._model_config(LEARNED),
            "optimizer": {"key": "AdamW", "kwargs": {"lr": LEARNING_RATE}, "max_grad_norm": 1.0},
            "criterion": {
                "key": "WeightedSumLoss",
                "kwargs": {"sub_terms": {"all": {"criterion": self.terms, "weight": 1.0}}},
            },
        }
        teachers, student = self._tapped(self.teachers, self.student)
        rows = Rows(rows_of(workload, text_only=False))
        self.box = DistillationBox(
            teachers, student, {"train": rows}, config, torch.device("cpu"), None, False, lr_factor=1
        )

    @staticmethod
    def _model_config(names: tuple[str, ...]) -> dict[str, Any]:
        hooks = {"input": [], "output": [f"taps.{name}" for name in names]}
        return {"forward_proc": "forward_batch_only", "forward_hook": hooks}

    @staticmethod
    def _tapped(teachers: Teachers, student: Student) -> tuple[TappedTeachers, TappedStudent]:
        return TappedTeachers(teachers, TAUGHT), TappedStudent(student, LEARNED)

    @property
    def first_loss(self) -> float:
        """Total loss of the very first step, in nats."""
        if self.terms.first is None:
            raise RuntimeError("first_loss is read before the first epoch: call epoch(0)")
        return float(self.terms.first)

    def epoch(self, number: int) -> int:
        """Train on every row once; a cached arm's first epoch runs the teachers and writes. Returns how many rows."""
        before = self.terms.rows_seen
        self.generator.manual_seed(1000 * self.seed + number)
        self.box.pre_epoch_process(epoch=number)
        for batch, targets, supplement in self.box.train_data_loader:
            loss = self.box.forward_process(batch, targets, supplement)
            self.box.post_forward_process(loss=loss)
        self.box.post_epoch_process()
        return self.terms.rows_seen - before


def live(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL) -> BoxArm:
    """Make the box with live teachers and texts padded to the batch's longest."""
    return BoxArm(workload, seed, batch_size, sizes, cached=False, padded=False)


def live_padded(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL) -> BoxArm:
    """Make the box with live teachers and texts padded to `LONGEST`."""
    return BoxArm(workload, seed, batch_size, sizes, cached=False, padded=True)


def cached(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL) -> BoxArm:
    """Make the box with its cached outputs and texts padded to `LONGEST`, which the cache needs."""
    return BoxArm(workload, seed, batch_size, sizes, cached=True, padded=True)
