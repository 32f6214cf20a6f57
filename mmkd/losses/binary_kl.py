"""`binary_kl`: logit distillation for labels that each hold or not (Hinton 1503.02531, with a sigmoid per label).

T^2 KL(teacher || student) between the two Bernoulli distributions of each label at temperature T, mean over rows and
labels. A softmax over the labels would make them compete. Yang et al. 2023 (Multi-Label Knowledge Distillation,
2308.06453) take the same divergence at T = 1 as the logit part of their method. Their code sums over labels, and clips
probabilities at 1e-8, where a student that is surely wrong gets no gradient; here all logarithms come from the logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(TaughtLossConfig):
    """Learn the task from a teacher's probabilities of the labels.

    temperature: above 1 it shows more of how sure the teacher is of what it does not predict.
    """

    logits: ClassVar[LogitsForm | None] = "labels"

    kind: Literal["binary_kl"] = "binary_kl"
    temperature: PositiveFloat = 1.0

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows and labels, in nats."""
        task, teacher = self.config.task, teachers[self.config.teacher]
        rows = rows_of(self.setting.tasks[task].level, batch, student, teacher)
        return binary_kl(student.logits[task][rows], teacher.logits[task][rows], self.config.temperature)


def binary_kl(student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], temperature: float) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) in nats, mean over rows and labels; raw logits. No gradient reaches the teacher."""
    student, teacher = full_precision(student) / temperature, full_precision(teacher.detach()) / temperature
    holds = _term(functional.logsigmoid(teacher), functional.logsigmoid(student))
    fails = _term(functional.logsigmoid(-teacher), functional.logsigmoid(-student))
    return temperature**2 * mean_or_zero(holds + fails)


def _term(log_p: Tensor, log_q: Tensor) -> Tensor:
    """One outcome's part of KL(p || q)."""
    return log_p.exp() * (log_p - log_q)
