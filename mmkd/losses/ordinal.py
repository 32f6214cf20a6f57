"""`ordinal`: distillation of ordered classes by their thresholds.

T^2 KL(teacher || student) between the two outcomes y <= k and y > k of each of the K - 1 thresholds, mean over rows and
thresholds, of the probabilities at temperature T. We know no paper of this loss: it is `binary_kl`'s formula on the
cumulative probabilities of a threshold model (McCullagh 1980, J. R. Stat. Soc. B 42, 109-142), which takes a K-class
problem as K - 1 questions of yes or no (Frank and Hall 2001, ECML). A student that moves probability to a distant class
is wrong at every threshold between, and pays at each; `logit_kl` does not know which classes are near.

log P(y <= k) and log P(y > k) are log-sum-exps over the classes on either side, so that a student that is sure of the
wrong side has a finite value and a gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import taught_rows, with_order
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn from a teacher on which side of each threshold an ordered class lies.

    temperature: of both networks' class probabilities, before they are summed.
    """

    logits: ClassVar[LogitsForm | None] = "classes"
    ordered: ClassVar[bool] = True

    kind: Literal["ordinal"] = "ordinal"
    temperature: PositiveFloat = 1.0

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
        """Mean over rows and thresholds, in nats."""
        own = self.config
        return ordinal(*taught_rows(self.task, batch, student, teachers[own.teacher]), own.temperature)


def ordinal(student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], temperature: float) -> Float[Tensor, ""]:
    """T^2 KL of each threshold's two outcomes, in nats, mean over rows and thresholds; raw logits, K at least 2.

    No gradient reaches the teacher.
    """
    log_student = sides((full_precision(student) / temperature).log_softmax(-1))
    log_teacher = sides((full_precision(teacher.detach()) / temperature).log_softmax(-1))
    return temperature**2 * mean_or_zero(kl_divergence(log_teacher, log_student))


def sides(log_probabilities: Float[Tensor, "R K"]) -> Float[Tensor, "R K-1 2"]:
    """Log P(y <= k) and log P(y > k) for the thresholds k = 0 to K - 2."""
    thresholds = range(1, log_probabilities.shape[-1])
    parts = [(log_probabilities[:, :k].logsumexp(-1), log_probabilities[:, k:].logsumexp(-1)) for k in thresholds]
    return torch.stack([torch.stack(pair, dim=-1) for pair in parts], dim=1)
