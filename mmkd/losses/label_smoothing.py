"""`label_smoothing`: labels that are not quite sure (Szegedy et al. 2016, 1512.00567, section 7), a control.

Cross-entropy with (1 - smoothing) of the label and smoothing / K of every class, the label's too, mean over labelled
rows. It takes the place of `supervised`, and is distillation from a teacher that holds all classes equally likely: what
a teacher's probabilities teach beyond it comes from the teacher. Some public code spreads its number over the other
K - 1 classes alone: the same labels have a number there that is (K - 1) / K of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaskLossConfig
from mmkd.losses import base
from mmkd.losses._classes import labelled_rows, of_label
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaskLossConfig):
    """Learn the task from its labels, smoothed, in the place of `supervised`.

    smoothing: the share of probability that is spread over all classes.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["label_smoothing"] = "label_smoothing"
    smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1


class Loss(base.Loss):
    """Rows: labelled, and the student speaks on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        logits, labels = labelled_rows(self.setting.tasks[self.config.task], batch, student)
        return label_smoothing(logits, labels, self.config.smoothing)


def label_smoothing(student: Float[Tensor, "R K"], labels: Int[Tensor, " R"], smoothing: float) -> Float[Tensor, ""]:
    """Cross-entropy with the smoothed labels in nats, mean over rows; raw logits."""
    log_student = full_precision(student).log_softmax(-1)
    return -mean_or_zero((1 - smoothing) * of_label(log_student, labels) + smoothing * log_student.mean(-1))
