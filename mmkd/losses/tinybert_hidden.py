"""`tinybert_hidden`: hidden states of several layers, linearly projected, regress a teacher's (1909.10351, eq. 8).

Jiao et al. 2020: MSE(H_S W, H_T), summed over layer pairs; W has no bias, and the paper gives it no index, so pairs of
the same widths share it. MSE is the mean per element, of the words that both tokenizers kept: the authors' code leaves
padding in, and adds a bias. `hint` is the case of one pair, with a bias. The term over the embeddings (eq. 9) is
`tinybert_embedding`, the one over attention matrices (eq. 7) is `tinybert_attention`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerPairsLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerPairsLoss
from mmkd.types import Batch, Outputs


class Config(LayerPairsLossConfig):
    """Learn a teacher's hidden features at several layers, position by position.

    pairs: in the paper every n-th layer of the teacher with the last: [[0, 2], [1, 5]] for 2 layers of 6.
    """

    kind: Literal["tinybert_hidden"] = "tinybert_hidden"


class Loss(LayerPairsLoss):
    """Rows: the positions that both have (see `_positions.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build a projection for each pair of widths that occurs."""
        super().__init__(config, setting)
        self.projections = nn.ModuleDict(
            {f"{own}_{target}": nn.Linear(own, target, bias=False) for own, target in dict.fromkeys(self.widths)}
        )

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over pairs. Raises ValueError when positions differ in number and have no grid."""
        terms = []
        for both, (width, teacher_width) in zip(self.positions(student, teachers), self.widths, strict=True):
            own, target = both.rows()
            terms.append(tinybert_hidden(self.projections[f"{width}_{teacher_width}"](own), target))
        return torch.stack(terms).sum()


def tinybert_hidden(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element over positions. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(projected) - full_precision(teacher.detach())).square())
