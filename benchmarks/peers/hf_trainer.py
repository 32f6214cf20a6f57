"""transformers' Trainer with the usual override of `compute_loss`, and live teachers."""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainingArguments

from benchmarks.peers.networks import Inputs, Student, batch_of, distillation, frozen_teachers, supervised
from benchmarks.workload import Workload


class Rows(Dataset[dict[str, Any]]):
    """The number of each row, with its ids, by whose length the Trainer groups."""

    def __init__(self, workload: Workload) -> None:
        """workload: to be read."""
        self._workload = workload

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._workload)

    def __getitem__(self, row: int) -> dict[str, Any]:
        """One row."""
        return {"input_ids": self._workload.ids[row], "row": row}


class Distiller(Trainer):
    """The student's loss with what the teachers say."""

    teachers: list[torch.nn.Module]

    def compute_loss(
        self, model: Student, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Supervised and distilled terms."""
        batch: Inputs = inputs["batch"]
        student = model(batch)
        with torch.no_grad():
            said = [teacher(batch) for teacher in self.teachers]
        loss = supervised(student, batch) + distillation(model, student, said, batch)
        return (loss, student) if return_outputs else loss


class Trained:
    """A Trainer that is run for one epoch at a time, on weights that go on."""

    def __init__(self, workload: Workload, seed: int, sampling: str) -> None:
        """sampling: the Trainer's strategy."""
        torch.manual_seed(seed)
        self._workload, self._sampling = workload, sampling
        self._student, self._teachers = Student(), frozen_teachers()

    def epoch(self, number: int) -> int:
        """Every row once; returns their number."""
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(
                output_dir=folder,
                per_device_train_batch_size=32,
                num_train_epochs=1,
                learning_rate=5e-4,
                train_sampling_strategy=self._sampling,
                remove_unused_columns=False,
                save_strategy="no",
                logging_strategy="no",
                report_to="none",
                disable_tqdm=True,
                use_cpu=True,
                seed=number,
            )
            trainer = Distiller(
                model=self._student, args=arguments, train_dataset=Rows(self._workload), data_collator=self._collate
            )
            trainer.teachers = self._teachers
            trainer.train()
        return len(self._workload)

    def _collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        return {"batch": batch_of(self._workload, np.array([each["row"] for each in rows]))}


def grouped(workload: Workload, seed: int) -> Trained:
    """Batches of similar length."""
    return Trained(workload, seed, "group_by_length")


def default(workload: Workload, seed: int) -> Trained:
    """Batches at random."""
    return Trained(workload, seed, "random")
