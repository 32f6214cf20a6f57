"""`srd`: projected features and a teacher's, both normalised over the batch, at a soft maximum's distance (2303.11098).

Miles and Mikolajczyk 2024, "Understanding the role of the projector in knowledge distillation": a linear
projection, a batch normalisation of both features without scale and shift, and the distance
log sum |z_s W - z_t|^alpha, over all channels and rows, with alpha = 4. With a larger alpha the largest differences
count more. The sum grows with the number of rows, so the value does by the logarithm; its gradient does not. The value
may be negative. The authors' code for transformers compares each channel's correlation with 1 instead of the features.

Always with the statistics of the batch's own rows, so that one row alone, which differs from its mean in nothing,
gives a constant with no gradient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision
from mmkd.losses._positions import LayerLoss
from mmkd.types import Batch, Outputs

SMALLEST_VARIANCE = 1e-5
"""Added to a channel's variance: a channel that is constant over the batch stays 0."""
SMALLEST_SUM = 1e-5
"""Added below the logarithm: where student and teacher agree it would be infinite."""


class Config(LayerLossConfig):
    """Learn a teacher's hidden features up to the mean and the deviation of each channel, position by position.

    alpha: the power that the differences are raised to; at least 2, so that the gradient is smooth where they are 0.
    """

    kind: Literal["srd"] = "srd"
    alpha: Annotated[float, Field(ge=2)] = 4.0


class Loss(LayerLoss):
    """Rows: the positions that both have (see `_positions.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        self.projection = nn.Linear(self.width, self.teacher_width)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """A logarithm. Raises ValueError when positions differ in number and have no grid."""
        own, target = self.positions(student, teachers).rows()
        return srd(self.projection(own), target, self.config.alpha)


def srd(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"], alpha: float) -> Float[Tensor, ""]:
    """log sum |difference|^alpha of the normalised features; without a row 0. No gradient reaches the teacher."""
    if not len(projected):
        return projected.sum()  # 0, where the logarithm of an empty sum is not
    differences = normalised(full_precision(projected)) - normalised(full_precision(teacher.detach()))
    return (differences.abs().pow(alpha).sum() + SMALLEST_SUM).log()


def normalised(values: Float[Tensor, "R D"]) -> Float[Tensor, "R D"]:
    """Each channel less its mean over the rows, over its population standard deviation."""
    centred = values - values.mean(0)
    return centred / (centred.square().mean(0) + SMALLEST_VARIANCE).sqrt()
