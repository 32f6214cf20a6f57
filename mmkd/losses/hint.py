"""`hint`: a hidden layer of the student, linearly projected, regresses a teacher's (FitNets, 1412.6550, eq. 3).

The paper takes half the squared distance; we take the mean squared error per element, so that the term's size does
not grow with the teacher's width or the number of positions. The projection takes the place of the paper's regressor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerLoss
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn a teacher's hidden features, position by position."""

    kind: Literal["hint"] = "hint"


class Loss(LayerLoss):
    """Rows: the positions that both have (see `_positions.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        self.projection = nn.Linear(self.width, self.teacher_width)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean squared error per element. Raises ValueError when positions differ in number and have no grid."""
        own, target = self.positions(student, teachers).rows()
        return hint(self.projection(own), target)


def hint(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element over positions. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(projected) - full_precision(teacher.detach())).square())
