"""`cosine`: a hidden layer of the student, linearly projected, points the way of a teacher's, position by position.

1 - cos(projected student, teacher), mean over positions: the cosine embedding loss over hidden states of DistilBERT
(Sanh et al. 2019, 1910.01108). There both networks are of one width and no projection stands between, and
the term is one of three, beside a cross-entropy with the teacher (`logit_kl`) and the student's own training loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.losses._positions import LayerLoss
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn the direction of a teacher's hidden features, position by position, whatever their length."""

    kind: Literal["cosine"] = "cosine"


class Loss(LayerLoss):
    """Rows: the positions that both have (see `_positions.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        self.projection = nn.Linear(self.width, self.teacher_width)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over positions, between 0 and 2. Raises ValueError when positions differ and have no grid."""
        own, target = self.positions(student, teachers).rows()
        return cosine(self.projection(own), target)


def cosine(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """1 - cosine, mean over positions. No gradient reaches the teacher."""
    own, target = unit(full_precision(projected)), unit(full_precision(teacher.detach()))
    return mean_or_zero(1 - (own * target).sum(-1))
