"""`jsd`: the generalised Jensen-Shannon divergence (Agarwal et al. 2024, GKD, 2306.13649, eq. 1).

T^2 (beta KL(p || m) + (1 - beta) KL(q || m)) with the mixture m = beta p + (1 - beta) q of the teacher's p and the
student's q, mean over rows. At T = 1 it never exceeds log 2. It is 0 at both ends of beta: divided by beta it tends to
KL(p || q) as beta goes to 0 (`logit_kl`), and divided by 1 - beta to KL(q || p) as beta goes to 1 (`reverse_kl`).
Public code takes those limits themselves for beta = 0 and beta = 1, and so jumps there; here neither is allowed. T^2 as
in `logit_kl`; GKD has no such factor, since its T is 1. The mixture's logarithm is a log-sum-exp of the two
log-probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import taught_rows
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn the task from a teacher's probabilities, by a divergence with a bound.

    beta: the teacher's share of the mixture, between 0 and 1. temperature: of both distributions.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["jsd"] = "jsd"
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.5
    temperature: PositiveFloat = 1.0

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        own = self.config
        rows = taught_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return jsd(*rows, own.beta, own.temperature)


def jsd(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], beta: float, temperature: float
) -> Float[Tensor, ""]:
    """T^2 JSD(beta) in nats, mean over rows; raw logits, 0 < beta < 1. No gradient reaches the teacher."""
    log_student = (full_precision(student) / temperature).log_softmax(-1)
    log_teacher = (full_precision(teacher.detach()) / temperature).log_softmax(-1)
    mixture = torch.logaddexp(log_teacher + math.log(beta), log_student + math.log1p(-beta))
    of_teacher, of_student = kl_divergence(log_teacher, mixture), kl_divergence(log_student, mixture)
    return temperature**2 * mean_or_zero(beta * of_teacher + (1 - beta) * of_student)
