"""`ab`: the student's projected features have the signs of a teacher's, by a margin (Heo et al. 2019, 1811.03233).

Knowledge transfer via distillation of activation boundaries, the alternative loss, a hinge in place of the difference
of who is active, which has no gradient: with the teacher's feature t before its nonlinearity and the student's s,
projected, max(0, mu - s)^2 where t > 0, and max(0, mu + s)^2 elsewhere. How large t is plays no part.
The paper sums over neurons; we take the mean per element, as `hint` does. Its connector has a batch normalisation
after the projection, and there the term trains the student alone, before any label; here it is a term as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerLoss
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn which of a teacher's hidden features are positive, position by position.

    margin: mu, how far from 0 the student's projected feature must lie on the teacher's side.
    """

    kind: Literal["ab"] = "ab"
    margin: PositiveFloat = 1.0


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
        return ab(self.projection(own), target, self.config.margin)


def ab(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"], margin: float) -> Float[Tensor, ""]:
    """Squared hinge on the teacher's sign, mean per element. No gradient reaches the teacher."""
    own = full_precision(projected)
    towards = torch.where(teacher.detach() > 0, own, -own)
    return mean_or_zero((margin - towards).clamp(min=0.0).square())
