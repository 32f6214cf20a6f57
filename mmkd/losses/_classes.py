"""Rows of logits over classes, with those of a teacher and with labels, as several losses read them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs, rows_of


def taught_rows(task: Task, batch: Batch, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor]:
    """The student's and the teacher's logits [R, K] of the rows on which both speak."""
    rows = rows_of(task.level, batch, student, teacher)
    return student.logits[task.name][rows], teacher.logits[task.name][rows]


def taught_labelled_rows(task: Task, batch: Batch, student: Outputs, teacher: Outputs) -> tuple[Tensor, Tensor, Tensor]:
    """The same with the labels [R], of the rows that have one."""
    rows = rows_of(task.level, batch, student, teacher) & task.labelled_rows(batch)
    return student.logits[task.name][rows], teacher.logits[task.name][rows], batch.labels[task.name][rows]


def labelled_rows(task: Task, batch: Batch, student: Outputs) -> tuple[Tensor, Tensor]:
    """The student's logits [R, K] and the labels [R] of the rows that have a label and on which it speaks."""
    rows = rows_of(task.level, batch, student) & task.labelled_rows(batch)
    return student.logits[task.name][rows], batch.labels[task.name][rows]


def with_order(task: Task, loss: str) -> Task:
    """The task, if its classes have an order; ValueError otherwise. loss: the kind that asks."""
    if not task.config.ordered:
        found = f"the task `{task.name}` is of the kind {task.config.kind}"
        raise ValueError(f"{loss}: {found}; expected one whose classes have an order, for example ordinal")
    return task


def of_label(values: Tensor, labels: Tensor) -> Tensor:
    """Each row's value [R] at its label; values [R, K]."""
    return values.gather(-1, labels[:, None])[:, 0]


def without_label(values: Tensor, labels: Tensor) -> Tensor:
    """Each row's values [R, K-1] but for the one at its label; values [R, K]."""
    classes = values.shape[-1]
    return values[functional.one_hot(labels, classes) == 0].view(len(values), classes - 1)
