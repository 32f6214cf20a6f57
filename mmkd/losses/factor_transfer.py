"""`factor_transfer`: a teacher's layer in fewer numbers, as it would itself put it (Kim et al. 2018, 1802.04977).

"Paraphrasing complex network: network compression via factor transfer". A paraphraser, an autoencoder of the teacher's
features x, learns by || x - P(x) ||^2; what is between its two halves is the teacher's factor F_T. A translator makes
the student's factor F_S of the student's features. The term draws the one to the other,
|| F_S / ||F_S||_2 - F_T / ||F_T||_2 ||_p, with each factor one vector of all channels and positions, mean over
examples. The paper takes p = 1 or 2 and a factor of half as many channels as the teacher's layer has.

The paper trains the paraphraser first, and then stops it. Here it learns beside the student: the value is the distance
plus the reconstruction's mean squared error per element. The two share no parameter that learns by both: the distance
takes the teacher's factor as it is, so the paraphraser learns by the reconstruction alone and cannot make itself easy
to translate, and neither reaches the teacher. Early in a run the factor is that of a paraphraser which has learned
little. A `weight` that rises from a small number, not from 0, makes up for it: AdamW's steps do not shrink with the
weight, so the paraphraser learns from the start. The paper's halves are three convolutions each, with batch
normalisations; here a half is a linear layer at each position, with the paper's leaky ReLU after the factor's. The
value of p = 1 grows with the root of the number of positions; the authors' code, from memory, takes the mean per
element and a coefficient of 500.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.losses._positions import LayerLoss, blanked
from mmkd.types import Batch, Outputs

SLOPE = 0.1
"""Of the leaky ReLU below 0."""


class Config(LayerLossConfig):
    """Learn a teacher's hidden features in the few channels that it can be made again from.

    rate: channels of the factor, as a share of the teacher's. p: of the norm that the distance is measured in.
    """

    kind: Literal["factor_transfer"] = "factor_transfer"
    rate: Annotated[float, Field(gt=0, le=1)] = 0.5
    p: Literal[1, 2] = 1


class Loss(LayerLoss):
    """Rows: examples of which both have a position; of the reconstruction, those positions."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the paraphraser's two halves and the translator."""
        super().__init__(config, setting)
        channels = max(round(config.rate * self.teacher_width), 1)
        self.paraphraser = nn.Sequential(nn.Linear(self.teacher_width, channels), nn.LeakyReLU(SLOPE))
        self.reconstruction = nn.Linear(channels, self.teacher_width)
        self.translator = nn.Sequential(nn.Linear(self.width, channels), nn.LeakyReLU(SLOPE))

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """The distance, and the reconstruction's error. Raises ValueError when positions cannot be compared."""
        rows = self.positions(student, teachers).examples()
        target = blanked(rows.teacher, rows.keep)
        factor = self.paraphraser(target)
        made = self.reconstruction(factor)[rows.keep]
        own = self.translator(blanked(rows.student, rows.keep))
        mine, theirs = (blanked(each, rows.keep).flatten(1) for each in (own, factor))
        distance = factor_transfer(mine, theirs, self.config.p)
        return distance + mean_or_zero((made - target[rows.keep]).square())


def factor_transfer(student: Float[Tensor, "R F"], teacher: Float[Tensor, "R F"], p: int) -> Float[Tensor, ""]:
    """p-norm of the difference of the factors of length 1, mean over rows. No gradient reaches the teacher's."""
    difference = unit(full_precision(student)) - unit(full_precision(teacher.detach()))
    return mean_or_zero(torch.linalg.vector_norm(difference, ord=p, dim=-1))
