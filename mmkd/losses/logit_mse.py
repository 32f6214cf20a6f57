"""`logit_mse`: regression of the teacher's logits (Ba and Caruana 2014, 1312.6184, eq. 1; Kim, Oh, Kim, Cho and Yun
2021, 2105.08919).

The squared difference of the logits, mean over rows and classes. The first paper takes half the sum over classes, the
second the sum; we take the mean, so that the term's size does not grow with the number of classes. For a temperature
much above the logits, Hinton's loss tends to half of this one, less half the square of the mean difference of a row
(the second paper): a number that is added to all logits of one network changes nothing there, and something here.
Logits of different networks may lie on very different scales, which this loss asks the student to copy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.losses import base
from mmkd.losses._classes import taught_rows
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn the task from a teacher's logits as they are."""

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["logit_mse"] = "logit_mse"

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows and classes, in the logits' unit squared (nats squared)."""
        own = self.config
        return logit_mse(*taught_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher]))


def logit_mse(student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"]) -> Float[Tensor, ""]:
    """Squared difference, mean over rows and classes. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(student) - full_precision(teacher.detach())).square())
