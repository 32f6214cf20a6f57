"""`mgd`: from a student's layer with positions masked out, a teacher's whole layer is generated (2205.01529).

Masked generative distillation, Yang et al. 2022. A position is masked with the probability `masked`, in all channels;
what is left of the projected student's features goes through two 3 x 3 convolutions with a ReLU between, and is
compared with the teacher's features at every position. The paper sums the squared errors; we take the mean per
element, as `hint` does, so the paper's weight alpha, 7e-5 beside a sum for classification, has no meaning here. The
authors' code for classification masks whole channels, with 0.15, and not positions, of which the paper speaks.

For words the convolutions go along the words, three wide: what is masked can only come from its neighbours. Words that
are not kept count as 0 there, as what lies beyond the ends does. The mask is drawn by torch's random state.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LayerLossConfig
from mmkd.config.section import Fraction
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import LayerLoss, blanked
from mmkd.types import Batch, Outputs


class Config(LayerLossConfig):
    """Learn features from which a teacher's can be generated, though some positions are hidden.

    masked: the probability that a position is masked.
    """

    draws: ClassVar[bool] = True

    kind: Literal["mgd"] = "mgd"
    masked: Fraction = 0.5


class Loss(LayerLoss):
    """Rows: the positions that both have (see `_positions.py`), the masked ones and the others."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's, and the generation."""
        super().__init__(config, setting)
        width = self.teacher_width
        convolution = nn.Conv2d if config.modality == "image" else nn.Conv1d
        self.projection = nn.Linear(self.width, width)
        self.generation = nn.Sequential(
            convolution(width, width, 3, padding=1), nn.ReLU(), convolution(width, width, 3, padding=1)
        )

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean squared error per element. Raises ValueError when an image's positions have no grid."""
        both = self.positions(student, teachers)
        visible = torch.rand(both.keep.shape, device=both.keep.device) >= self.config.masked
        projected = self.projection(blanked(both.student, both.keep))
        channels = blanked(projected, both.keep & visible).transpose(1, 2)
        if self.config.modality == "image":
            if both.grid is None:
                raise ValueError("mgd: the teacher's positions have no grid; expected rows and columns of an image")
            channels = channels.unflatten(2, both.grid)
        generated = self.generation(channels).flatten(2).transpose(1, 2)
        return mgd(generated[both.keep], both.teacher[both.keep])


def mgd(generated: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element over positions. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(generated) - full_precision(teacher.detach())).square())
