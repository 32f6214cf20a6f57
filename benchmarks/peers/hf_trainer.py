"""Distillation with transformers' Trainer: the usual override of `compute_loss`, with live teachers."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainingArguments

from benchmarks.peers.networks import (
    FULL,
    Sizes,
    Student,
    Teachers,
    build,
    collate,
    distillation_loss,
    inputs_of,
    rows_of,
)
from benchmarks.peers.plain import LEARNING_RATE

if TYPE_CHECKING:
    from benchmarks.workload import Workload


class DistillationTrainer(Trainer):
    """A Trainer whose loss also asks the teachers."""

    def __init__(
        self, student: Student, teachers: Teachers, rows: list[dict[str, Any]], args: TrainingArguments
    ) -> None:
        """Hand everything to the Trainer but the teachers."""
        super().__init__(model=student, args=args, train_dataset=rows, data_collator=collate)
        self.teachers = teachers
        self.rows_seen = 0
        self.first: Tensor | None = None

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Sum of all terms of one batch."""
        with torch.no_grad():
            taught = self.teachers(**inputs_of(inputs))
        outputs = model(**inputs_of(inputs))
        loss = distillation_loss(outputs, taught, inputs)
        self.rows_seen += len(inputs["input_ids"])
        if self.first is None:
            self.first = loss.detach()
        return (loss, outputs) if return_outputs else loss


class TrainerArm:
    """Runs the Trainer for one epoch at a time; it keeps its optimizer between them."""

    def __init__(self, workload: Workload, seed: int, batch_size: int, sizes: Sizes, strategy: str) -> None:
        """Build networks and Trainer; `strategy` is its `train_sampling_strategy`."""
        self.student, self.teachers = build(sizes, seed)
        self.seed = seed
        folder = tempfile.mkdtemp(prefix="trainer-arm-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=batch_size,
            num_train_epochs=1,
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            weight_decay=0.01,
            max_grad_norm=1.0,
            train_sampling_strategy=strategy,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            save_strategy="no",
            logging_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=seed,
        )
        self.trainer = DistillationTrainer(self.student, self.teachers, rows_of(workload, text_only=False), arguments)
        self.trainer.remove_callback(PrinterCallback)

    @property
    def first_loss(self) -> float:
        """Total loss of the very first step, in nats."""
        if self.trainer.first is None:
            raise RuntimeError("first_loss is read before the first epoch: call epoch(0)")
        return float(self.trainer.first)

    def epoch(self, number: int) -> int:
        """Train on every row once; return how many rows the loss saw."""
        torch.manual_seed(1000 * self.seed + number)  # the sampler takes its seed from here when training begins
        before = self.trainer.rows_seen
        self.trainer.train()
        return self.trainer.rows_seen - before


def grouped(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL) -> TrainerArm:
    """Make the Trainer with texts of similar length batched together."""
    return TrainerArm(workload, seed, batch_size, sizes, "group_by_length")


def default(workload: Workload, seed: int, batch_size: int = 32, sizes: Sizes = FULL) -> TrainerArm:
    """Make the Trainer with its default random batches."""
    return TrainerArm(workload, seed, batch_size, sizes, "random")
