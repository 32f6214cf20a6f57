"""`fsp`: how two layers of a student go together, as in a teacher (Yim et al., CVPR 2017, equations 1 and 2).

"A gift from knowledge distillation": the matrix of the flow of the solution procedure is, for each example,
G_ij = mean over positions of F_i H_j, with the channels of a lower layer F and of an upper layer H. The term is the
squared distance of the student's G and the teacher's, mean over examples; we take the mean per element of G, as `hint`
does of features, where the paper sums. In the paper both networks have the same widths and grids. Here both layers of
the student are projected linearly to the teacher's widths, and all are brought to the grid of the teacher's upper
layer by adaptive average pooling, where the paper takes the maximum. The paper trains by this term alone first, and
by the labels afterwards; here it is a term as any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from jaxtyping import Bool, Float
from pydantic import Field, Strict
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerPair, LayerPairsLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerPairsLoss, aligned, blanked
from mmkd.types import Batch, Outputs


class Config(LayerPairsLossConfig):
    """Learn how a lower and an upper layer of a teacher go together.

    pairs: two, of the lower layers and of the upper ones: [[student's, teacher's], [student's, teacher's]].
    """

    kind: Literal["fsp"] = "fsp"
    pairs: Annotated[tuple[LayerPair, ...], Strict(False), Field(min_length=2, max_length=2)]


class Loss(LayerPairsLoss):
    """Rows: examples of which both have a position."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build a projection from the student's width to the teacher's for the lower and for the upper layer."""
        super().__init__(config, setting)
        self.lower, self.upper = (nn.Linear(own, target) for own, target in self.widths)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean per element. Raises ValueError when positions differ in number and have no grid."""
        modality, teacher = self.config.modality, teachers[self.config.teacher]
        (own_lower, lower), (own_upper, upper) = self.config.pairs
        target = teacher.hidden[modality][upper]
        taught = [aligned(teacher.hidden[modality][layer], target) for layer in (lower, upper)]
        own = [aligned(student.hidden[modality][layer], target) for layer in (own_lower, own_upper)]
        keep = (student.has[modality] & teacher.has[modality])[:, None]
        for layer in (*own, *taught):
            keep = keep & layer.mask
        some = keep.any(1)
        keep = keep[some]
        first, second = (blanked(full_precision(layer.values[some]), keep) for layer in own)
        return fsp(
            flow(self.lower(first), self.upper(second), keep),
            flow(taught[0].values[some], taught[1].values[some], keep),
        )


def fsp(student: Float[Tensor, "R D E"], teacher: Float[Tensor, "R D E"]) -> Float[Tensor, ""]:
    """Squared distance of the matrices, mean per element. No gradient reaches the teacher."""
    return mean_or_zero((student - teacher.detach()).square())


def flow(
    lower: Float[Tensor, "R N D"], upper: Float[Tensor, "R N E"], keep: Bool[Tensor, "R N"]
) -> Float[Tensor, "R D E"]:
    """Products of the lower layer's channels with the upper layer's, mean over the kept positions."""
    first, second = (full_precision(blanked(values, keep)) for values in (lower, upper))
    return first.transpose(1, 2) @ second / keep.sum(1).clamp(min=1)[:, None, None]
