"""`reverse_kl`: T^2 KL(student || teacher), mean over rows (Agarwal et al. 2024, GKD, 2306.13649, section 2).

Where `logit_kl` asks the student to cover every class that the teacher holds possible, this one asks it to stay away
from those that the teacher holds impossible: a student that cannot follow all of the teacher's probabilities keeps to
the highest. T^2 as in `logit_kl`, so that the gradient stays of one size when T changes; GKD has no such factor, since
its T is 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import taught_rows
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn from a teacher what is not so.

    temperature: of both distributions.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["reverse_kl"] = "reverse_kl"
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
        return reverse_kl(*rows, own.temperature)


def reverse_kl(student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], temperature: float) -> Float[Tensor, ""]:
    """T^2 KL(student || teacher) in nats, mean over rows; raw logits. No gradient reaches the teacher."""
    log_student = (full_precision(student) / temperature).log_softmax(-1)
    log_teacher = (full_precision(teacher.detach()) / temperature).log_softmax(-1)
    return temperature**2 * mean_or_zero(kl_divergence(log_student, log_teacher))
