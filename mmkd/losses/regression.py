"""`regression`: distillation of a value (Chen et al. 2017, Learning Efficient Object Detection Models with Knowledge
Distillation, NeurIPS 2017).

The student's value is drawn to the teacher's by the squared error, or by Huber's (the paper's smooth L1).

`teacher_bounded` is the paper's own loss: a value has no bounds, and a teacher's may point away from the label, so the
teacher is no target but a bound. With the errors against the label, the student's counts where
error(student) + margin > error(teacher), and costs nothing once it is better than the teacher by the margin. As in the
paper, it falls to 0 there at once: the value jumps, the gradient is that of the student's own error or 0. The paper
adds it, weighted, to the loss of the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor
from torch.nn import functional

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import NonNegativeFloat, PositiveFloat
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(TaughtLossConfig):
    """Learn the task from a teacher's value.

    delta: errors beyond it count linearly, in the unit of the value; null: all errors count by their square.
    teacher_bounded: learn from the label, on rows where the student is not better than the teacher by the margin.
    margin: of `teacher_bounded`, in the unit of the error (the value's squared).
    """

    logits: ClassVar[LogitsForm | None] = "value"

    kind: Literal["regression"] = "regression"
    delta: PositiveFloat | None = None
    teacher_bounded: bool = False
    margin: NonNegativeFloat = 0.0

    @model_validator(mode="after")
    def _margin_of_the_bound(self) -> Config:
        if self.margin and not self.teacher_bounded:
            raise ValueError("`margin` goes with `teacher_bounded: true`, and does nothing without it")
        return self

    @property
    def needs_labels(self) -> bool:
        """The bound is by the label."""
        return self.teacher_bounded


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them; with `teacher_bounded`, those of them with a label."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in the unit of the value squared."""
        task, teacher = self.setting.tasks[self.config.task], teachers[self.config.teacher]
        rows = rows_of(task.level, batch, student, teacher)
        if self.config.teacher_bounded:
            rows = rows & task.labelled_rows(batch)
        own, taught = student.logits[task.name][rows][..., 0], teacher.logits[task.name][rows][..., 0]
        if self.config.teacher_bounded:
            labels = batch.labels[task.name][rows]
            return bounded_regression(own, taught, labels, self.config.margin, self.config.delta)
        return regression(own, taught, self.config.delta)


def regression(
    student: Float[Tensor, " R"], teacher: Float[Tensor, " R"], delta: float | None = None
) -> Float[Tensor, ""]:
    """Mean over rows of the error between the two values. No gradient reaches the teacher."""
    return mean_or_zero(error(student, teacher.detach(), delta))


def bounded_regression(
    student: Float[Tensor, " R"],
    teacher: Float[Tensor, " R"],
    labels: Float[Tensor, " R"],
    margin: float = 0.0,
    delta: float | None = None,
) -> Float[Tensor, ""]:
    """Mean over rows of the student's error against the label, 0 on rows where it is below the teacher's by the margin.

    Rows that cost nothing count in the mean. No gradient reaches the teacher, which is only compared with.
    """
    own, bound = error(student, labels, delta), error(teacher, labels, delta)
    return mean_or_zero(own * (own + margin > bound))


def error(values: Float[Tensor, " R"], targets: Float[Tensor, " R"], delta: float | None = None) -> Float[Tensor, " R"]:
    """Squared error of each row; with delta twice Huber's, 2 delta |error| - delta^2 beyond delta.

    Twice, so that a large delta gives the squared error.
    """
    values = full_precision(values)
    targets = full_precision(targets).to(values.dtype)
    if delta is None:
        return (values - targets).square()
    return 2 * functional.huber_loss(values, targets, reduction="none", delta=delta)
