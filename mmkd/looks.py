"""A batch with a part of it hidden, as a `Look` asks for it.

A hidden patch of an image has the mean colour of the student's normalisation, and so is 0 to its network. A hidden
word's sub-tokens are no part of the text any more: nothing attends to them, and the word has no feature. So any network
can look, without a vector for what is hidden and without a token that its vocabulary may lack.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mmkd.config.looks import Look
from mmkd.student.student import READER
from mmkd.types import Batch, Tokens


def partly_hidden(batch: Batch, look: Look, mean: Float[Tensor, "3 1 1"] | None) -> Batch:
    """The batch as the student looks at it. mean: colour, from 0 to 1, of what is hidden of an image; None: no images.

    What is hidden is drawn from torch's random state.
    """
    tokens, images = batch.tokens, batch.images
    if look.image and mean is not None:
        pixels = images[READER]
        hidden = hidden_pixels(pixels, look.image, look.patch)
        images = {**images, READER: torch.where(hidden[:, None], (255 * mean).round().to(pixels.dtype), pixels)}
    if look.text and READER in tokens:
        tokens = {**tokens, READER: without_words(tokens[READER], chosen(batch.word_mask, look.text))}
    return replace(batch, tokens=tokens, images=images)


def chosen(places: Bool[Tensor, "B N"], share: float) -> Bool[Tensor, "B N"]:
    """Of each row's places, this share at random, rounded down; with a share below 1, one place is left."""
    draw = torch.rand(places.shape, device=places.device).masked_fill(~places, torch.inf)
    rank = draw.argsort(dim=1).argsort(dim=1)
    return places & (rank < (share * places.sum(1, keepdim=True)).floor())


def hidden_pixels(pixels: Tensor, share: float, patch: int) -> Bool[Tensor, "B H W"]:
    """Where whole patches of images [B, 3, H, W] are hidden; those at the right and lower edge may be narrower."""
    count, _, height, width = pixels.shape
    rows, columns = -(-height // patch), -(-width // patch)
    every = torch.ones(count, rows * columns, dtype=torch.bool, device=pixels.device)
    patches = chosen(every, share).view(count, rows, columns)
    return patches.repeat_interleave(patch, 1).repeat_interleave(patch, 2)[:, :height, :width]


def without_words(tokens: Tokens, hidden: Bool[Tensor, "B W"]) -> Tokens:
    """The tokens as if those of the hidden words were padding."""
    if hidden.shape[1] == 0:
        return tokens
    gone = hidden.gather(1, tokens.word.clamp(min=0)) & (tokens.word >= 0)
    return replace(tokens, mask=tokens.mask & ~gone, word=tokens.word.masked_fill(gone, -1))
