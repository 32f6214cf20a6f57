"""`vid`: variational information distillation of a hidden layer (Ahn et al. 2019, 1904.05835).

The mutual information of student and teacher is at least the expected log-likelihood of the teacher's features under a
Gaussian whose mean is computed from the student's and whose variance v_c = softplus(alpha_c) is learned, one for each
of the teacher's channels. The term is the negative of it without the constant log(2 pi) / 2:
log(v_c) / 2 + (t_c - mu_c(s))^2 / (2 v_c). It is negative where the variance has become small.

The paper sums over channels and positions; we take the mean per element, as the code that RepDistiller has from the
authors does, so that the size does not grow with the teacher's width. That code is also where the start of the variance
and what is added to it are from. The Gaussian's mean is a linear function of the student's features, where that code
has three 1 x 1 convolutions with ReLUs between.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerLoss
from mmkd.types import Batch, Outputs

SMALLEST_VARIANCE = 1e-5
"""Added to every variance: a channel that the student predicts exactly would otherwise have no finite optimum."""


class Config(LayerLossConfig):
    """Learn a teacher's hidden features, position by position, a channel the more the better it can be predicted.

    start_variance: of every channel before training, in the square of the features' unit.
    """

    kind: Literal["vid"] = "vid"
    start_variance: Annotated[float, Field(ge=1e-3)] = 5.0


class Loss(LayerLoss):
    """Rows: the positions that both have (see `_positions.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the Gaussian: its mean from the student's width to the teacher's, and the teacher's variances."""
        super().__init__(config, setting)
        self.mean = nn.Linear(self.width, self.teacher_width)
        start = config.start_variance - SMALLEST_VARIANCE
        inverse_softplus = start + math.log(-math.expm1(-start))
        self.alpha = nn.Parameter(torch.full((self.teacher_width,), inverse_softplus))

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """In nats, mean per element. Raises ValueError when positions differ in number and have no grid."""
        own, target = self.positions(student, teachers).rows()
        return vid(self.mean(own), functional.softplus(full_precision(self.alpha)) + SMALLEST_VARIANCE, target)


def vid(mean: Float[Tensor, "R D"], variance: Float[Tensor, " D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Negative log-likelihood without its constant, in nats, mean per element. No gradient reaches the teacher."""
    errors = (full_precision(teacher.detach()) - full_precision(mean)).square()
    return mean_or_zero((variance.log() + errors / variance) / 2)
