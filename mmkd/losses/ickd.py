"""`ickd`: how a layer's channels go together within an example, as in a teacher (Liu et al., ICCV 2021, 2103.14475).

"Exploring inter-channel correlation for diversity-preserved knowledge distillation": with F the features of an example,
channels x positions, the inter-channel correlation is G = F F^T, the inner product of each two channels, and the term
is the squared distance of the student's G and the teacher's, whose width a linear layer gives the student's features.
The grid-level variant, for dense prediction, has such a matrix for each cell of a grid, and is the mean over cells.

As in the authors' code (from memory), each row of G is scaled to length 1, and the value is the mean over rows of the
squared distance, between 0 and 4. The paper's equation has no such scale and a factor 1 / c^2; it grows with the fourth
power of the features, whose gradient leaves float16 for features of some hundreds. That code also has a batch
normalisation after the linear layer. Where the grids differ, the student's is brought to the teacher's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Strict, model_validator
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.config.section import PositiveInt
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.losses._positions import LayerLoss, Positions, blanked
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn which channels of a teacher's layer go together.

    cells: rows and columns of the grid-level variant, for images; [1, 1] is the whole layer.
    """

    kind: Literal["ickd"] = "ickd"
    cells: Annotated[tuple[PositiveInt, PositiveInt], Strict(False)] = (1, 1)

    @model_validator(mode="after")
    def _cells_of_images(self) -> Config:
        if self.modality == "text" and self.cells != (1, 1):
            raise ValueError(f"found cells {list(self.cells)} of text; expected [1, 1]: words have no grid")
        return self


class Loss(LayerLoss):
    """Rows: examples of which both have a position."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        self.projection = nn.Linear(self.width, self.teacher_width)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows of the matrices. Raises ValueError for positions without a grid that is needed."""
        rows = self.positions(student, teachers).examples()
        count = self.config.cells[0] * self.config.cells[1]
        cell = self.cells(rows)
        own = products(self.projection(blanked(rows.student, rows.keep)), rows.keep, cell, count)
        return ickd(own, products(rows.teacher, rows.keep, cell, count))

    def cells(self, rows: Positions) -> Int[Tensor, " N"]:
        """The cell that each position lies in. Raises ValueError where the grid has fewer rows or columns than cells.

        A position whose row and column are i and j of h and w lies in the cell of row i n // h and column j m // w.
        """
        places = torch.arange(rows.keep.shape[1], device=rows.keep.device)
        down, across = self.config.cells
        if across == down == 1:
            return torch.zeros_like(places)
        if rows.grid is None or rows.grid[0] < down or rows.grid[1] < across:
            found = "no grid" if rows.grid is None else f"a grid of {rows.grid[0]} x {rows.grid[1]} positions"
            raise ValueError(f"ickd: the teacher's layer has {found}; expected at least `cells`, {down} x {across}")
        height, width = rows.grid
        return (places // width * down // height) * across + places % width * across // width


def ickd(student: Float[Tensor, "R C D D"], teacher: Float[Tensor, "R C D D"]) -> Float[Tensor, ""]:
    """Squared distance of the matrices' rows of length 1, mean over rows. No gradient reaches the teacher."""
    return mean_or_zero((unit(student) - unit(teacher.detach())).square().sum(-1))


def products(
    values: Float[Tensor, "R N D"], keep: Bool[Tensor, "R N"], cell: Int[Tensor, " N"], count: int
) -> Float[Tensor, "R C D D"]:
    """Products of each two channels, mean over the kept positions of each of `count` cells; 0 for a cell with none."""
    values = full_precision(blanked(values, keep))
    inside = keep[..., None] & (cell[:, None] == torch.arange(count, device=cell.device))
    share = inside.to(values.dtype) / inside.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("rnc,rnd,rne->rcde", share, values, values)
