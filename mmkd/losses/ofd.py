"""`ofd`: a teacher's hidden features above a margin, at a distance that lets negative ones be (1904.01866).

Heo et al. 2019, "A comprehensive overhaul of feature distillation", section 3. The teacher's features go through a
margin ReLU, t = max(x, m_c), where m_c < 0 is the mean of the channel's negative values; the student's s, projected
linearly, are drawn to them by the partial L2 distance: 0 where s <= t <= 0, (t - s)^2 elsewhere. A teacher's value
below the margin so only asks for a student's value that is below it too.

The paper computes m_c from the teacher's batch normalisation before that layer, under a Gaussian, or over the training
set; neither is at hand here, so it is the mean of the negative values among the batch's own rows, and 0 for a channel
without any. The paper sums; we take the mean per element, as `hint` does. Its regressor has a batch normalisation
after the projection. The features should be those before the nonlinearity (a transformer's layer has none after it).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerLoss
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn a teacher's positive hidden features in size, and the negative ones only as such, position by position."""

    kind: Literal["ofd"] = "ofd"


class Loss(LayerLoss):
    """Rows: the positions that both have (see `_positions.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        self.projection = nn.Linear(self.width, self.teacher_width)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean per element. Raises ValueError when positions differ in number and have no grid."""
        own, target = self.positions(student, teachers).rows()
        return ofd(self.projection(own), target)


def ofd(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Partial L2 distance to the teacher above its margin, mean per element. No gradient reaches the teacher."""
    own, target = full_precision(projected), full_precision(teacher.detach())
    target = torch.maximum(target, margins(target))
    free = (own <= target) & (target <= 0)
    return mean_or_zero((target - own).masked_fill(free, 0.0).square())


def margins(values: Float[Tensor, "R D"]) -> Float[Tensor, " D"]:
    """The mean of each channel's negative values; 0 for a channel without any."""
    return values.clamp(max=0.0).sum(0) / (values < 0).sum(0).clamp(min=1)
