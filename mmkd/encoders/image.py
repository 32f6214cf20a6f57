"""A timm model as an image encoder: pooled features, and positions of the layers asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import timm
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmkd.config.layers import Layer
from mmkd.config.local import local_path
from mmkd.encoders.base import COMPILED, Encoded
from mmkd.encoders.taps import Taps, blocks_of, unfused_attention
from mmkd.pretrained import read_weights
from mmkd.types import Hidden

if TYPE_CHECKING:
    from mmkd.config.encoders import ImageEncoder as Config


class ImageEncoder(nn.Module):
    """Pixels to features. Layer n is timm's n-th intermediate: a block of a transformer, a stage of a ConvNet.

    heads: name of each query, key and value that is returned -> its number of heads.
    """

    model: Any  # timm's models share no typed base
    mean: Tensor
    std: Tensor

    def __init__(self, config: Config, layers: Sequence[Layer] = ()) -> None:
        """layers: the layers to return, beside the last (`mmkd.config.layers`).

        Raises ValueError for a layer that the model does not have, or a name that timm does not know.
        """
        super().__init__()
        self.model = _create(config)
        self._compiled: Callable[[Tensor], Encoded] | None = None
        self.memory_format = _memory_format(self.model)
        self.model.to(memory_format=self.memory_format)
        self.frozen_batch_norm = config.frozen_batch_norm
        self.depth = len(self.model.feature_info)
        numbers = [layer for layer in layers if isinstance(layer, int)]
        self.blocks = sorted({*numbers, self.depth - 1})
        names = sorted({layer for layer in layers if isinstance(layer, str)})
        self.layers: list[Layer] = [*self.blocks, *names]
        if absent := [layer for layer in numbers if not 0 <= layer < self.depth]:
            raise ValueError(f"layers {absent}: {config.model} has the layers 0 to {self.depth - 1}")
        stated = self.model.pretrained_cfg
        for name, values in (("mean", config.mean or stated["mean"]), ("std", config.std or stated["std"])):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self._taps = Taps(self.model, names, self.depth)
        self.heads = self._taps.heads
        pixels = torch.zeros(1, 3, config.size, config.size, dtype=torch.uint8)
        encoded = self._without_trace(pixels)
        # timm states the width before the head, and some heads widen it.
        self.width: int = encoded.pooled.shape[1]
        self._widths = {name: encoded.hidden[name].values.shape[-1] for name in names}
        for block in self._taps.attention_blocks():
            self._check_attention(pixels, block)

    def train(self, mode: bool = True) -> ImageEncoder:
        """Training mode, in which frozen batch norms still use their stored statistics."""
        super().train(mode)
        if self.frozen_batch_norm:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self

    def forward(self, pixels: Tensor, present: Tensor) -> Encoded:
        """pixels: uint8 [B, 3, H, W]. present: [B]; an absent image gives zeros and leaves batch norms alone.

        In training, batch norms take a lone image by their stored statistics, which it leaves alone too: where the
        last map is 1 x 1, one image has no variance of its own.
        """
        if present.all():
            return self._encode(pixels)
        if not present.any():
            return _spread(self._without_trace(pixels[:1]), present)
        return _spread(self._encode(pixels[present]), present)

    def compile_network(self) -> None:
        """Have `torch.compile` make the forward pass of images that are there, for batches of any length."""
        self._compiled = torch.compile(self._encode_all, **COMPILED)

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled pass, which is that of this network: a copy of it would read these weights."""
        return {**super().__getstate__(), "_compiled": None}

    def _encode(self, pixels: Tensor) -> Encoded:
        lone = [m for m in self.modules() if isinstance(m, _BatchNorm) and m.training] if len(pixels) == 1 else []
        for module in lone:
            module.eval()
        try:
            return (self._compiled or self._encode_all)(pixels)
        finally:
            for module in lone:
                module.train()

    def _encode_all(self, pixels: Tensor) -> Encoded:
        scaled = (pixels.contiguous(memory_format=self.memory_format).float() / 255 - self.mean) / self.std
        features, maps = self.model.forward_intermediates(scaled, indices=list(self.blocks), output_fmt="NCHW")
        hidden: dict[Layer, Hidden] = {n: _positions(grid) for n, grid in zip(self.blocks, maps, strict=True)}
        for name, values in self._taps.take().items():
            hidden[name] = self._tapped(name, values, maps[-1].shape[2:])
        return Encoded(self.model.forward_head(features, pre_logits=True), hidden)

    @torch.no_grad()
    def _without_trace(self, pixels: Tensor) -> Encoded:
        """Encode in evaluation mode without gradient, for the shapes alone; gives no rows."""
        training = self.training
        self.eval()
        encoded = self._encode(pixels)
        self.train(training)
        hidden = {n: Hidden(h.values[:0], h.mask[:0], h.grid) for n, h in encoded.hidden.items()}
        return Encoded(encoded.pooled[:0], hidden)

    def _tapped(self, name: Layer, values: Tensor, grid: Sequence[int]) -> Hidden:
        """A module's output by position. grid: of the last layer, which tokens in a row have too."""
        if values.ndim == 4:
            # Some of timm's networks keep their channels last.
            in_front = getattr(self.model, "output_fmt", "NCHW") == "NCHW"
            return _positions(values if in_front else rearrange(values, "b h w d -> b d h w"))
        before = values.shape[1] - grid[0] * grid[1] if values.ndim == 3 else -1
        if before not in (0, getattr(self.model, "num_prefix_tokens", 0)):
            raise ValueError(
                f"layer {name}: of an image with {grid[0]} x {grid[1]} positions it has the shape "
                f"{list(values.shape)}; expected a token for each, or a map [B, D, h, w]"
            )
        patches = values[:, before:]  # what stands before them, a class token for instance, is no position
        return _positions(rearrange(patches, "b (h w) d -> b d h w", h=grid[0]))

    @torch.no_grad()
    def _check_attention(self, pixels: Tensor, block: int) -> None:
        training = self.training
        self.eval()
        noise = torch.rand(pixels.shape, generator=torch.Generator().manual_seed(0))  # equal patches would say less
        with unfused_attention(blocks_of(self.model, self.depth)[block]) as own:
            self.model.forward_features(noise)
        self.train(training)
        if own.kept is None:
            raise ValueError(f"layer {block}: the block computes no attention")
        self._taps.require_whole_attention(self._taps.take(), block, own.kept)

    def width_of(self, layer: Layer) -> int:
        """Width of a layer's positions."""
        if isinstance(layer, str):
            return self._widths[layer]
        return int(self.model.feature_info[layer]["num_chs"])


def _memory_format(model: nn.Module) -> torch.memory_format:
    """Channels last, in which convolutions run a good deal faster on CPU and GPU alike.

    But a strided 1 x 1 convolution of pixels (RepVGG's) then writes past its memory on the CPU in its backward pass,
    which ends the process (seen with torch 2.15).
    """
    of_pixels = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.in_channels == 3]
    if any(module.kernel_size == (1, 1) and module.stride != (1, 1) for module in of_pixels):
        return torch.contiguous_format
    return torch.channels_last


def _create(config: Config) -> nn.Module:
    if not timm.is_model(config.model):
        known = timm.list_models(f"*{config.model.partition('.')[0][:6]}*")[:5]
        raise ValueError(f"model: timm {timm.__version__} knows no `{config.model}`; some that it knows: {known}")
    options = image_options(config)
    if config.weights is None:
        return timm.create_model(config.model, pretrained=config.pretrained, num_classes=0, **options)
    path = local_path(config.weights)
    if path is None:
        raise FileNotFoundError(f"weights: found no {config.weights}, in the working folder or below MMKD_DATA")
    model = timm.create_model(config.model, **options)
    model.load_state_dict(read_weights(path))
    model.reset_classifier(0)
    return model


def image_options(config: Config) -> dict[str, Any]:
    """Keyword arguments of `timm.create_model`: those stated, and the size where the model is made for one."""
    stated = timm.models.get_pretrained_cfg(config.model)
    # A vision transformer's position embeddings are made for one size.
    sized = {"img_size": config.size} if stated is not None and stated.fixed_input_size else {}
    return {**sized, **config.options}


def _positions(grid: Tensor) -> Hidden:
    """A map [B, D, h, w] as h * w positions."""
    values = rearrange(grid, "b d h w -> b (h w) d")
    mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
    return Hidden(values, mask, (grid.shape[2], grid.shape[3]))


def _spread(encoded: Encoded, present: Tensor) -> Encoded:
    """Rows of the examples that have an image, put back among those that have none."""

    def spread(values: Tensor) -> Tensor:
        out = values.new_zeros(len(present), *values.shape[1:])
        out[present] = values
        return out

    hidden = {n: Hidden(spread(h.values), spread(h.mask), h.grid) for n, h in encoded.hidden.items()}
    return Encoded(spread(encoded.pooled), hidden)
