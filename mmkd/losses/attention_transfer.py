"""`attention_transfer`: where in an example the student's features are strong, as in a teacher (1612.03928).

Zagoruyko and Komodakis 2017, section 3.1: the attention map Q of a layer is, at each position, sum_c |a_c|^p over its
channels. The term is ||Q_S / ||Q_S||_2 - Q_T / ||Q_T||_2||_2^2, mean over examples. The widths of the layers may
differ, so there is no projection. The paper's equation 2 has the distance without the square and half of beta before
it; we square it, as the authors' code does, so that the gradient is finite where the maps agree. That code, and those
that follow it, take the mean over positions too; we take the sum, which the squared distance is. beta is `weight`.

For images a map goes over the grid; for words, over the kept words of an example.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.losses._positions import LayerLoss, blanked
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn which positions of an example a teacher's layer attends to.

    power: p of |a|^p; larger values look at the strongest channels only.
    """

    kind: Literal["attention_transfer"] = "attention_transfer"
    power: Annotated[float, Field(ge=1)] = 2.0


class Loss(LayerLoss):
    """Rows: examples of which both have a position."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over examples, at most 2. Raises ValueError when positions differ in number and have no grid."""
        both = self.positions(student, teachers).examples()
        return attention_transfer(both.student, both.teacher, both.keep, self.config.power)


def attention_transfer(
    student: Float[Tensor, "R N D"], teacher: Float[Tensor, "R N E"], keep: Bool[Tensor, "R N"], power: float
) -> Float[Tensor, ""]:
    """Squared distance of the attention maps of length 1, mean over examples. No gradient reaches the teacher."""
    own, target = attention_map(student, keep, power), attention_map(teacher.detach(), keep, power)
    return mean_or_zero((own - target).square().sum(-1))


def attention_map(values: Float[Tensor, "R N D"], keep: Bool[Tensor, "R N"], power: float) -> Float[Tensor, "R N"]:
    """sum_c |a_c|^power at each kept position, scaled to length 1 over the positions."""
    return unit(full_precision(blanked(values, keep)).abs().pow(power).sum(-1))
