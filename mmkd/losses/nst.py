"""`nst`: the channels of a student's layer are active where a teacher's are (Huang and Wang 2017, 1707.01219).

Neuron selectivity transfer. A channel is a sample: its activations over the positions of an example, scaled to length
1. The term is the squared maximum mean discrepancy of the student's channels and the teacher's:
mean k(t, t') + mean k(s, s') - 2 mean k(t, s), over all pairs, with the polynomial kernel k(x, y) = (x . y + c)^d.
The numbers of channels may differ, so there is no projection. Mean over examples; the paper's factor lambda / 2 is
`weight`. RepDistiller's code can leave out the teacher's own pairs, which have no gradient; here they stay in, so that
equal patterns have the distance 0.

For images a channel's activations go over the grid; for words, over the kept words of an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Bool, Float
from torch import Tensor

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.config.section import NonNegativeFloat, PositiveInt
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.losses._positions import LayerLoss, blanked
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn where a teacher's channels are active, whatever their number.

    degree: d of the kernel. offset: c of the kernel.
    """

    kind: Literal["nst"] = "nst"
    degree: PositiveInt = 2
    offset: NonNegativeFloat = 0.0


class Loss(LayerLoss):
    """Rows: examples of which both have a position."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over examples. Raises ValueError when positions differ in number and have no grid."""
        both = self.positions(student, teachers).examples()
        return nst(both.student, both.teacher, both.keep, self.config.degree, self.config.offset)


def nst(
    student: Float[Tensor, "R N D"],
    teacher: Float[Tensor, "R N E"],
    keep: Bool[Tensor, "R N"],
    degree: int,
    offset: float,
) -> Float[Tensor, ""]:
    """Squared discrepancy of the channels' patterns, mean over examples. No gradient reaches the teacher."""
    own, target = patterns(student, keep), patterns(teacher.detach(), keep)
    alike = mean_kernel(target, target, degree, offset) + mean_kernel(own, own, degree, offset)
    return mean_or_zero(alike - 2 * mean_kernel(target, own, degree, offset))


def patterns(values: Float[Tensor, "R N D"], keep: Bool[Tensor, "R N"]) -> Float[Tensor, "R D N"]:
    """Each channel's activations at the kept positions, scaled to length 1 over them."""
    return unit(full_precision(blanked(values, keep)).transpose(1, 2))


def mean_kernel(
    x: Float[Tensor, "R D N"], y: Float[Tensor, "R E N"], degree: int, offset: float
) -> Float[Tensor, " R"]:
    """(x . y + offset)^degree, mean over all pairs of channels."""
    return (x @ y.transpose(1, 2) + offset).pow(degree).mean((1, 2))
