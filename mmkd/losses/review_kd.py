"""`review_kd`: layers of the student, each joined with the deeper ones, learn a teacher's layers (2104.09044).

Chen et al. 2021, "Distilling knowledge via knowledge review". From the deepest pair of layers to the lowest, attention
based fusion (ABF) makes one feature of the student's layer x, brought to a common width by a linear layer, and of the
fused feature y of the layer above it, brought to its grid by the nearest cell: x a_1 + y a_2, where two maps a of
numbers between 0 and 1 come from a linear layer of both and a sigmoid; the deepest is x alone. A 3 x 3 convolution of
the fused feature is compared with the teacher's layer. So a lower layer of the teacher teaches the student's deeper
layers too. The hierarchical context loss (HCL) is the mean squared error per element of the cells, plus 1/2, 1/4 and
1/8 of that of the features averaged to grids of 4 x 4, 2 x 2 and 1 x 1, over the sum of these factors; a size that is
not smaller than the grid is left out, and the next one takes its factor. The term is the sum over pairs. The factors,
and this rule, are the authors' code's, from memory; it has a batch normalisation after each convolution, which is left
out here, and its width is 64 for small networks.

The student's layers are brought to the grids of their teacher's layers first. For words the convolution goes along the
words, three wide. A text has no fixed parts that a grid of 4 or 2 could stand for, and its length is its own, so of
the sizes only the words and the mean over them are left, with the factors 1 and 1/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.plugin_base import LayerPairsLossConfig
from mmkd.config.section import PositiveInt
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerPairsLoss, blanked, mean_over_positions
from mmkd.types import Batch, Outputs

Grid = tuple[int, int] | None

SIZES = (4, 2, 1)
"""Rows and columns of the grids that an image's features are averaged to."""


class Config(LayerPairsLossConfig):
    """Learn several layers of a teacher, each from the student's layer and all above it.

    pairs: from low to high: [[0, 1], [1, 3], [2, 5]] for 3 layers of 6. width: of the fused features.
    """

    kind: Literal["review_kd"] = "review_kd"
    width: PositiveInt = 64

    @model_validator(mode="after")
    def _from_low_to_high(self) -> Config:
        ours = [layer for layer, _ in self.pairs]
        if ours != sorted(set(ours)):
            raise ValueError(f"found the student's layers {ours} in pairs; expected each once, from low to high")
        return self


class Loss(LayerPairsLoss):
    """Rows: positions that both have at every pair; of images, examples of which both have all of them."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build for each pair what brings it to the common width, and to the teacher's; and the attention between."""
        super().__init__(config, setting)
        convolution = nn.Conv2d if config.modality == "image" else nn.Conv1d
        self.inward = nn.ModuleList(nn.Linear(own, config.width) for own, _ in self.widths)
        self.attention = nn.ModuleList(nn.Linear(2 * config.width, 2) for _ in self.widths[1:])
        self.outward = nn.ModuleList(convolution(config.width, target, 3, padding=1) for _, target in self.widths)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over pairs. Raises ValueError when positions cannot be compared, and for images without a grid."""
        pairs = self.positions(student, teachers)
        if self.config.modality == "image":
            if any(both.grid is None for both in pairs):
                raise ValueError(
                    "review_kd: the teacher's positions have no grid; expected rows and columns of an image"
                )
            some = torch.stack([both.keep.all(1) for both in pairs]).all(0)
        else:
            some = torch.stack([both.keep for both in pairs]).all(0).any(1)
        terms, above, above_grid = [], None, None
        for n in reversed(range(len(pairs))):
            both, keep = pairs[n], pairs[n].keep[some]
            fused = blanked(self.inward[n](blanked(both.student[some], keep)), keep)
            if above is not None:
                fused = joined(fused, regridded(above, above_grid, both.grid), self.attention[n])
            channels = fused.transpose(1, 2)
            channels = channels if both.grid is None else channels.unflatten(2, both.grid)
            made = self.outward[n](channels).flatten(2).transpose(1, 2)
            terms.append(review_kd(made, both.teacher[some], keep, both.grid))
            above, above_grid = fused, both.grid
        return torch.stack(terms).sum()


def review_kd(
    made: Float[Tensor, "R N D"], teacher: Float[Tensor, "R N D"], keep: Bool[Tensor, "R N"], grid: Grid
) -> Float[Tensor, ""]:
    """Mean squared error per element at several sizes, mean by their factors. No gradient reaches the teacher."""
    made, teacher = full_precision(made), full_precision(teacher.detach())
    factor = factors = 1.0
    total = mean_or_zero((made[keep] - teacher[keep]).square())
    for size in (1,) if grid is None else [size for size in SIZES if size < min(grid)]:
        factor /= 2
        factors += factor
        total = total + factor * mean_or_zero(
            (parts(made, keep, grid, size) - parts(teacher, keep, grid, size)).square()
        )
    return total / factors


def parts(values: Float[Tensor, "R N D"], keep: Bool[Tensor, "R N"], grid: Grid, size: int) -> Float[Tensor, "R ..."]:
    """Means over a grid of size x size, or without a grid over all kept positions."""
    if grid is None:
        return mean_over_positions(values, keep)
    return functional.adaptive_avg_pool2d(values.transpose(1, 2).unflatten(2, grid), size)


def joined(own: Float[Tensor, "R N W"], above: Float[Tensor, "R N W"], attention: nn.Module) -> Float[Tensor, "R N W"]:
    """Both features, each by its map of numbers between 0 and 1."""
    maps = attention(torch.cat([own, above], dim=-1)).sigmoid()
    return own * maps[..., :1] + above * maps[..., 1:]


def regridded(values: Float[Tensor, "R N W"], grid: Grid, target: Grid) -> Float[Tensor, "R M W"]:
    """Features at the cells of another grid, each from the cell that it lies in; without a grid as they are."""
    if grid is None or target is None or grid == target:
        return values
    channels = values.transpose(1, 2).unflatten(2, grid)
    return functional.interpolate(channels, size=target, mode="nearest").flatten(2).transpose(1, 2)
