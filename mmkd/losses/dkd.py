"""`dkd`: decoupled knowledge distillation (Zhao, Cui, Song, Qiu and Liang 2022, 2203.08679, section 3).

T^2 (alpha TCKD + beta NCKD), mean over rows, of the probabilities p (teacher) and q (student) at temperature T, with c
the label: TCKD is the KL divergence of the two outcomes c and not c, [p_c, 1 - p_c] from [q_c, 1 - q_c]; NCKD is the
KL divergence of the other classes among themselves, p_k / (1 - p_c) from q_k / (1 - q_c). Hinton's loss is TCKD +
(1 - p_c) NCKD: a teacher that is sure of the label says little about the other classes, and beta takes the place of
the small factor. The factor T^2 is the authors' code's.

That code takes the logarithm of probabilities, where a student that is surely wrong or surely right has an infinite
value; it hides the label in NCKD by taking 1000 from its logit, which is not enough for logits that lie further apart.
Here all comes from the logits: log(1 - q_c) is a log-sum-exp over the other classes. mmrazor's `mean` is a sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import NonNegativeFloat, PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import of_label, taught_labelled_rows, without_label
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn from a teacher how sure the label is, and apart from that how the other classes rank.

    alpha: of the label against the rest. beta: of the other classes among themselves; the paper takes 8 for most of
    its teachers, and less for one that is less sure. temperature: of both, for teacher and student.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["dkd"] = "dkd"
    alpha: NonNegativeFloat = 1.0
    beta: NonNegativeFloat = 8.0
    temperature: PositiveFloat = 4.0

    @property
    def needs_labels(self) -> bool:
        """The label is what is told apart."""
        return True

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: labelled, and the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        own = self.config
        rows = taught_labelled_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return dkd(*rows, own.alpha, own.beta, own.temperature)


def dkd(
    student: Float[Tensor, "R K"],
    teacher: Float[Tensor, "R K"],
    labels: Int[Tensor, " R"],
    alpha: float,
    beta: float,
    temperature: float,
) -> Float[Tensor, ""]:
    """T^2 (alpha TCKD + beta NCKD) in nats, mean over rows; raw logits. No gradient reaches the teacher."""
    student, teacher = full_precision(student) / temperature, full_precision(teacher.detach()) / temperature
    target = kl_divergence(label_or_not(teacher, labels), label_or_not(student, labels))
    others = kl_divergence(
        without_label(teacher, labels).log_softmax(-1), without_label(student, labels).log_softmax(-1)
    )
    return temperature**2 * mean_or_zero(alpha * target + beta * others)


def label_or_not(logits: Float[Tensor, "R K"], labels: Int[Tensor, " R"]) -> Float[Tensor, "R 2"]:
    """Log-probabilities of the label, and of any other class."""
    pair = torch.stack([of_label(logits, labels), without_label(logits, labels).logsumexp(-1)], dim=-1)
    return pair.log_softmax(-1)
