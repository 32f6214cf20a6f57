"""`wsld`: weighted soft labels (Zhou et al. 2021, Rethinking Soft Labels for Knowledge Distillation: A Bias-Variance
Tradeoff Perspective, 2102.00650).

(1 - exp(-c_s / c_t)) times the loss of soft labels, -T^2 sum of p_k log q_k at temperature T, mean over rows. c_s and
c_t are the student's and the teacher's cross-entropy with the label, without a temperature. Where the student knows
the label better than the teacher does, soft labels mostly add bias, and the row counts little; the weight never
exceeds 1.

The weight is held fixed when the gradient is taken, as in the authors' code: it chooses among rows, and is nothing that
the student should learn to lower. As in the paper the soft labels' loss is a cross-entropy, which is not 0 where
student and teacher agree, but has no gradient there. The authors' code adds 1e-7 to c_t; here a teacher that is sure of
the label in the arithmetic's precision gives the weight 1, or 0 where the student is too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import of_label, taught_labelled_rows
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn from a teacher's probabilities, most where the student does not know the label yet.

    temperature: of the soft labels. The authors' code adds 2.5 times this term to the loss of the labels.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["wsld"] = "wsld"
    temperature: PositiveFloat = 2.0

    @property
    def needs_labels(self) -> bool:
        """The weight is by the label."""
        return True


class Loss(base.Loss):
    """Rows: labelled, and the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        own = self.config
        rows = taught_labelled_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return wsld(*rows, own.temperature)


def wsld(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], labels: Int[Tensor, " R"], temperature: float
) -> Float[Tensor, ""]:
    """Weighted T^2 cross-entropy in nats, mean over rows; raw logits. No gradient reaches the teacher or the weight."""
    student, teacher = full_precision(student), full_precision(teacher.detach())
    log_student = (student / temperature).log_softmax(-1)
    entropies = -((teacher / temperature).softmax(-1) * log_student).sum(-1)
    return temperature**2 * mean_or_zero(weights(student.detach(), teacher, labels) * entropies)


def weights(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], labels: Int[Tensor, " R"]
) -> Float[Tensor, " R"]:
    """1 - exp(-c_s / c_t), between 0 and 1."""
    own = -of_label(student.log_softmax(-1), labels)
    taught = -of_label(teacher.log_softmax(-1), labels)
    return -torch.expm1(-own / taught.clamp(min=torch.finfo(taught.dtype).tiny))
