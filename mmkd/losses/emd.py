"""`emd`: squared earth mover's distance of ordered classes (Hou, Yu and Samaras 2016, 1611.05916).

The sum over k of (P(y <= k) - Q(y <= k))^2, of the teacher's and the student's cumulative probabilities, mean over
rows. Between classes in a row, each one step from the next, the cost of moving one distribution into the other is a
norm of this difference; the paper takes its square without the norm's factor 1/K, against the label, where we have the
teacher. The last term is 0. Code after NIMA (1709.05424) takes the mean over classes, and the root of it.

A student that is sure of the wrong class has nearly no gradient here, since its probabilities hardly move with its
logits; `ordinal` has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.losses import base
from mmkd.losses._classes import taught_rows, with_order
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn ordered classes from a teacher's probabilities, where a distant class is worse than a near one."""

    logits: ClassVar[LogitsForm | None] = "classes"
    ordered: ClassVar[bool] = True

    kind: Literal["emd"] = "emd"

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Raises ValueError for a task without an order."""
        super().__init__(config, setting)
        self.task = with_order(setting.tasks[config.task], config.kind)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, at most K - 1."""
        return emd(*taught_rows(self.task, batch, student, teachers[self.config.teacher]))


def emd(student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"]) -> Float[Tensor, ""]:
    """Sum of squared differences of cumulative probabilities, mean over rows. No gradient reaches the teacher."""
    difference = full_precision(student).softmax(-1) - full_precision(teacher.detach()).softmax(-1)
    return mean_or_zero(difference.cumsum(-1)[:, :-1].square().sum(-1))
