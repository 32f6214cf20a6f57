"""Distillation of the text part with TextBrewer 0.2.1.post1's GeneralDistiller, live or from batches frozen in memory.

`is_caching_logits` keeps logits only, and GeneralDistiller switches it off; what a GeneralDistiller does take is a
batch with its own `teacher_cache`, so the fast arm freezes its batches and keeps the teacher's outputs in them.
TextBrewer's `ce` is a cross-entropy without T²: weighted by T² it has the gradient of T²·KL, and a loss that is
higher by the teacher's entropy.
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

from benchmarks.peers.networks import (
    FULL,
    TEMPERATURE,
    Sizes,
    Student,
    Teachers,
    build,
    collate,
    inputs_of,
    rows_of,
    supervised_loss,
)
from benchmarks.peers.plain import LEARNING_RATE, bucketed_batches

if TYPE_CHECKING:
    from benchmarks.workload import Workload


class Teacher(nn.Module):
    """The text teacher with its outputs as a dict, which TextBrewer can move between devices."""

    def __init__(self, teachers: Teachers) -> None:
        """Wrap the text teacher."""
        super().__init__()
        self.text = teachers.text

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        """Run over a batch."""
        out = self.text(input_ids, attention_mask)
        return {"sentiment": out.sentiment, "risk": out.risk, "ner": out.ner, "hidden": out.hidden}


class LabelledStudent(nn.Module):
    """The student with its supervised loss, as models of Hugging Face return it beside their logits."""

    def __init__(self, student: Student) -> None:
        """Wrap the student."""
        super().__init__()
        self.student = student

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        """Run over a batch with its labels."""
        out = self.student(**inputs_of(batch))
        return {
            "sentiment": out.sentiment,
            "risk": out.risk,
            "ner": out.ner,
            "hidden": out.hidden,
            "loss": supervised_loss(out, batch),
        }


def adapt(batch: dict[str, Tensor], outputs: dict[str, Tensor]) -> dict[str, Any]:
    """Name the outputs of either model in TextBrewer's words."""
    mask = batch["attention_mask"]
    adapted: dict[str, Any] = {
        "logits": [outputs["sentiment"], outputs["risk"], outputs["ner"]],
        "logits_mask": [mask],
        "hidden": [outputs["hidden"]],
        "inputs_mask": mask,
    }
    if "loss" in outputs:
        adapted["losses"] = [outputs["loss"]]
    return adapted


class BrewerArm:
    """Runs the distiller for one epoch at a time over batches of similar length."""

    def __init__(self, workload: Workload, seed: int, batch_size: int, sizes: Sizes, cached: bool) -> None:
        """Build networks, optimizer and distiller; `cached` freezes the first epoch's batches with their outputs."""
        from textbrewer import DistillationConfig, GeneralDistiller, TrainingConfig

        logging.getLogger("Distillation").setLevel(logging.WARNING)
        self.rows = rows_of(workload, text_only=True)
        self.lengths = [len(ids) for ids in workload.ids]
        self.seed, self.batch_size, self.cached = seed, batch_size, cached
        self.student, self.teachers = build(sizes, seed, text_only=True)
        self.teacher = Teacher(self.teachers).eval()
        labelled = LabelledStudent(self.student)
        self.optimizer = torch.optim.AdamW(labelled.parameters(), lr=LEARNING_RATE, fused=True)
        folder = tempfile.mkdtemp(prefix="brewer-arm-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        match = {"layer_T": 0, "layer_S": 0, "feature": "hidden", "loss": "hidden_mse", "weight": 1}
        self.distiller = GeneralDistiller(
            TrainingConfig(ckpt_frequency=0, output_dir=folder, device="cpu"),
            DistillationConfig(
                temperature=TEMPERATURE,
                kd_loss_weight=TEMPERATURE**2,
                hard_label_weight=1,
                intermediate_matches=[match],
            ),
            self.teacher,
            labelled,
            adapt,
            adapt,
        )
        self.frozen: list[dict[str, Any]] = []
        self.first: Tensor | None = None
        self.rows_seen = 0
        self._watch_the_loss()

    def _watch_the_loss(self) -> None:
        """Count rows and keep the first loss; the distiller's own hook for losses, `write_loss`, reads each value."""
        inner = self.distiller.train_on_batch

        def train_on_batch(batch: dict[str, Any], args: dict[str, Any]) -> tuple[Tensor, dict[str, Tensor]]:
            loss, terms = inner(batch, args)
            self.rows_seen += len(batch["student"]["sentiment"])
            if self.first is None:
                self.first = loss.detach().clone()
            return loss, terms

        self.distiller.train_on_batch = train_on_batch

    @property
    def first_loss(self) -> float:
        """Total loss of the very first step, in nats, with the teacher's entropy in it."""
        if self.first is None:
            raise RuntimeError("first_loss is read before the first epoch: call epoch(0)")
        return float(self.first)

    def _batches(self, number: int) -> list[dict[str, Any]]:
        generator = np.random.default_rng((self.seed, number))
        if self.cached and self.frozen:
            return [self.frozen[place] for place in generator.permutation(len(self.frozen))]
        batches = []
        for places in bucketed_batches(self.lengths, self.batch_size, generator):
            student = collate([self.rows[place] for place in places])
            batch: dict[str, Any] = {"teacher": inputs_of(student), "student": student}
            if self.cached:
                with torch.no_grad():
                    batch["teacher_cache"] = self.teacher(**batch["teacher"])
            batches.append(batch)
        if self.cached:
            self.frozen = batches
        return batches

    def epoch(self, number: int) -> int:
        """Train on every row once; a cached arm's first epoch also runs the teacher. Returns how many rows."""
        before = self.rows_seen
        with self.distiller:
            self.distiller.train(self.optimizer, self._batches(number), num_epochs=1, max_grad_norm=1.0)
        return self.rows_seen - before


def cached(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL) -> BrewerArm:
    """Make the distiller with frozen batches that hold the teacher's outputs."""
    return BrewerArm(workload, seed, batch_size, sizes, cached=True)


def live(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL) -> BrewerArm:
    """Make the distiller with a live teacher, batches of similar length."""
    return BrewerArm(workload, seed, batch_size, sizes, cached=False)
