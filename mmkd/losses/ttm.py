"""`ttm`: transformed teacher matching (Zheng and Yang 2024, 2402.11148, sections 3 and 4).

KL(p_T || q), mean over rows: the teacher's probabilities at temperature T, which is the power transform
p_k^(1/T) / U with U = sum of p_k^(1/T), against the student's without any temperature. By the paper's section 3,
KL(p_T || q) = T KL(p_T || q_T) + (T - 1) (H(p_T) - H_{1/T}(q)) with Shannon's entropy H of the teacher and Renyi's
entropy H_{1/T}, of order 1/T, of the student: above T = 1 it is Hinton's loss with a reward for a student that is
unsure.

`weighted` is WTTM (section 4, eq. 22): each row's divergence times U, which lies between 1 and K^(1 - 1/T) for T above
1 and is largest where the teacher is unsure. Neither has a factor T^2: with a high T the teacher becomes uniform and
the student's gradient does not shrink. A student that says what the teacher says has the value 0 at T = 1, and in
general at no other.
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
    """Learn the task from a teacher's softened probabilities, without softening the student's.

    temperature: of the teacher; the paper tunes it for each pair of networks. weighted: rows count by how unsure the
    teacher is.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["ttm"] = "ttm"
    temperature: PositiveFloat = 4.0
    weighted: bool = False


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        own = self.config
        rows = taught_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return ttm(*rows, own.temperature, own.weighted)


def ttm(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], temperature: float, weighted: bool = False
) -> Float[Tensor, ""]:
    """KL(p_T || q) in nats, mean over rows, times U if weighted; raw logits. No gradient reaches the teacher."""
    student, teacher = full_precision(student), full_precision(teacher.detach())
    powers = teacher.log_softmax(-1) / temperature
    divergences = kl_divergence(powers.log_softmax(-1), student.log_softmax(-1))
    if weighted:
        divergences = powers.logsumexp(-1).exp() * divergences
    return mean_or_zero(divergences)
