"""A linear map of an image made small, as an image encoder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmkd.encoders.bag import require_one_layer
from mmkd.encoders.base import Encoded
from mmkd.types import Hidden

if TYPE_CHECKING:
    from mmkd.config.encoders import Pixels, StudentImage
    from mmkd.config.layers import Layer

MIDDLE = (0.5, 0.5, 0.5)
"""Mean and deviation of pixels in 0..1, where the experiment states none."""


class PixelEncoder(nn.Module):
    """Pixels to features, of width `width`. Its one layer, 0, is the features as one position."""

    depth, layers = 1, (0,)
    heads: Mapping[str, int] = {}
    mean: Tensor
    std: Tensor

    def __init__(self, config: Pixels, images: StudentImage, layers: Sequence[Layer] = ()) -> None:
        """images: for their normalisation. layers: the hidden layers to return.

        Raises ValueError for another layer than 0.
        """
        super().__init__()
        require_one_layer(layers, "a linear map of pixels")
        self.width = config.width
        self.small = nn.AdaptiveAvgPool2d(config.side)
        self.linear = nn.Linear(3 * config.side**2, config.width)
        for name, values in (("mean", images.mean or MIDDLE), ("std", images.std or MIDDLE)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)

    def width_of(self, layer: Layer) -> int:
        """Width of the features."""
        return self.width

    def forward(self, pixels: Tensor, present: Tensor) -> Encoded:
        """pixels: uint8 [B, 3, H, W]. present: [B]; an absent image gives zeros."""
        small = (self.small(pixels.float() / 255) - self.mean) / self.std
        features = self.linear(small.flatten(1)) * present[:, None]
        return Encoded(features, {0: Hidden(features[:, None], present[:, None], (1, 1))})
