"""`pkd`: patient knowledge distillation, the direction of an example's state at several layers (1908.09355).

Sun et al. 2019, section 3.2: sum over layer pairs of || h_S / ||h_S||_2 - h_T / ||h_T||_2 ||_2^2, h being the [CLS]
state of a layer. Here positions are words and no [CLS] is among them, so h is the mean over the words that both
tokenizers kept; for images, over the grid. The paper's networks are of one width; we project the student's h linearly,
one projection for each pair. We take the mean over examples for the paper's sum. The authors' code takes the mean over
the width too, which makes the term smaller by the width; we keep the equation, so that a pair's value lies between 0
and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerPairsLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.losses._positions import LayerPairsLoss, mean_over_positions
from mmkd.types import Batch, Outputs


class Config(LayerPairsLossConfig):
    """Learn the direction of a teacher's mean state at several layers.

    pairs: as in PKD-Skip, every n-th layer of the teacher, without the last: [[0, 1], [1, 3]] for 3 layers of 6.
    """

    kind: Literal["pkd"] = "pkd"


class Loss(LayerPairsLoss):
    """Rows: examples of which both have a position."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build a projection from the student's width to the teacher's for each pair."""
        super().__init__(config, setting)
        self.projections = nn.ModuleList(nn.Linear(own, target) for own, target in self.widths)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over pairs. Raises ValueError when positions differ in number and have no grid."""
        terms = []
        for both, projection in zip(self.positions(student, teachers), self.projections, strict=True):
            rows = both.examples()
            own = projection(mean_over_positions(rows.student, rows.keep))
            terms.append(pkd(own, mean_over_positions(rows.teacher, rows.keep)))
        return torch.stack(terms).sum()


def pkd(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Squared distance of the vectors of length 1, mean over examples. No gradient reaches the teacher."""
    own, target = unit(full_precision(projected)), unit(full_precision(teacher.detach()))
    return mean_or_zero((own - target).square().sum(-1))
