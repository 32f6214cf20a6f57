"""A batch moved to where the objective is larger: embeddings of sub-tokens in L2, pixels in L-infinity.

From no shift at all, each step goes up the objective's gradient g: a text's shift by g / |g|_2 over all its sub-tokens
(1605.07725, eq. 5 and 6, there one step), an image's by sign(g) (1412.6572; 1706.06083, section 2.1, several steps);
both are then brought back to within their bound, and an image's pixels to between black and white. Miyato et al.
normalise the embeddings, so that their size cannot grow away from the bound; as public code does, we leave them as they
are. Madry et al. start from a random shift; we start from none, so that one step is the fast gradient method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmkd.config.adversarial import Adversarial
from mmkd.student.student import READER
from mmkd.types import Batch


@dataclass(frozen=True)
class Shift:
    """text: [B, S, E], added to the embeddings. image: [B, 3, H, W], added to pixels from 0 to 1. None: nothing is."""

    text: Tensor | None
    image: Tensor | None


def worst_shift(objective: Callable[[Shift], Tensor | None], network: Any, batch: Batch, config: Adversarial) -> Shift:
    """The shift that the steps lead to. No parameter's `.grad` is touched.

    objective: its value [] with a shift; None when the batch has no term. network: a student, with the encoders of what
    is moved.
    """
    tokens = batch.tokens[READER].mask if config.text is not None else None
    pixels = batch.images[READER].float() / 255 if config.image is not None else None
    shift = Shift(
        None if tokens is None else _nothing(network.encoders["text"].embedding, batch.tokens[READER].ids),
        None if pixels is None else torch.zeros_like(pixels),
    )
    for _ in range(config.steps):
        leaves = [part.requires_grad_() for part in (shift.text, shift.image) if part is not None]
        value = objective(shift)
        if value is None:
            break
        slopes = list(torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True))
        text = image = None
        if shift.text is not None and tokens is not None and config.text is not None:
            text = moved_text(shift.text, slopes.pop(0), tokens, config.text, config.step_size)
        if shift.image is not None and pixels is not None and config.image is not None:
            image = moved_image(shift.image, slopes.pop(0), pixels, config.image, config.step_size)
        shift = Shift(text, image)
    return Shift(*(None if part is None else part.detach() for part in (shift.text, shift.image)))


@torch.no_grad()
def _nothing(embedding: Any, ids: Tensor) -> Tensor:
    return torch.zeros_like(embedding(ids))


@torch.no_grad()
def moved_text(
    shift: Float[Tensor, "B S E"],
    slope: Float[Tensor, "B S E"],
    tokens: Bool[Tensor, "B S"],
    bound: float,
    step_size: float,
) -> Float[Tensor, "B S E"]:
    """A step of bound x step_size up the slope, at most `bound` from 0 in L2, for each text; padding stays."""
    slope = slope * tokens[..., None]
    # In shares of its largest number first: the squares of a tiny slope are 0.
    slope = slope / slope.abs().amax((1, 2), keepdim=True).clamp(min=torch.finfo(slope.dtype).tiny)
    moved = shift + bound * step_size * slope / _length(slope).clamp(min=1)
    return moved * (bound / _length(moved).clamp(min=bound))


def _length(values: Float[Tensor, "B S E"]) -> Float[Tensor, "B 1 1"]:
    return values.square().sum((1, 2), keepdim=True).sqrt()


@torch.no_grad()
def moved_image(
    shift: Float[Tensor, "B C H W"],
    slope: Float[Tensor, "B C H W"],
    pixels: Float[Tensor, "B C H W"],
    bound: float,
    step_size: float,
) -> Float[Tensor, "B C H W"]:
    """A step of bound x step_size up the slope's sign, at most `bound` from 0 in each value, between black and white.

    pixels: from 0 to 1, before any shift.
    """
    moved = (shift + bound * step_size * slope.sign()).clamp(-bound, bound)
    return (pixels + moved).clamp(0, 1) - pixels


@contextmanager
def shifted(network: Any, batch: Batch, shift: Shift) -> Iterator[Batch]:
    """The batch with the shift, for as long as the context lasts; the network reads texts with it meanwhile."""
    images = batch.images
    if shift.image is not None:
        images = {**images, READER: 255 * (images[READER].float() / 255 + shift.image)}
    if shift.text is None:
        yield replace(batch, images=images)
        return
    text = shift.text
    hook = network.encoders["text"].embedding.register_forward_hook(lambda module, ids, vectors: vectors + text)
    try:
        yield replace(batch, images=images)
    finally:
        hook.remove()
