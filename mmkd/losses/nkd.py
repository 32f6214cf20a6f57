"""`nkd`: normalised knowledge distillation (Yang, Zeng, Li, Zhang, Yuan and Li 2023, 2303.13005, section 3.1).

-p_c log q_c - gamma T^2 sum over k other than c of p'_k log q'_k, mean over rows, with c the label, p and q the
teacher's and the student's probabilities at temperature 1, and p' and q' those of the other classes among themselves at
temperature T, each of which sums to 1. In a plain cross-entropy the student's and the teacher's other classes sum to
1 - q_c and 1 - p_c, and cannot agree before the label does.

Both parts are cross-entropies, as in the paper: a student that says what the teacher says has a value above 0, and on
the label a gradient too, which asks for q_c = 1. Some public code hides the label in the second part by taking 1000
from its logit, which is not enough for logits that lie further apart; here it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import NonNegativeFloat, PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import of_label, taught_labelled_rows, without_label
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn the label as far as a teacher is sure of it, and from the teacher how the other classes rank.

    gamma: of the other classes. temperature: of the other classes alone.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["nkd"] = "nkd"
    gamma: NonNegativeFloat = 1.5
    temperature: PositiveFloat = 1.0

    @property
    def needs_labels(self) -> bool:
        """The label is what is told apart."""
        return True


class Loss(base.Loss):
    """Rows: labelled, and the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        own = self.config
        rows = taught_labelled_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return nkd(*rows, own.gamma, own.temperature)


def nkd(
    student: Float[Tensor, "R K"],
    teacher: Float[Tensor, "R K"],
    labels: Int[Tensor, " R"],
    gamma: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """Cross-entropies of the label and of the other classes, mean over rows. No gradient reaches the teacher."""
    student, teacher = full_precision(student), full_precision(teacher.detach())
    target = of_label(teacher.softmax(-1), labels) * of_label(student.log_softmax(-1), labels)
    log_others = (without_label(student, labels) / temperature).log_softmax(-1)
    others = ((without_label(teacher, labels) / temperature).softmax(-1) * log_others).sum(-1)
    return -mean_or_zero(target + gamma * temperature**2 * others)
