"""A bag of words as a text encoder: a vector for each sub-token, and their mean. It has no blocks and no positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from mmkd.encoders.base import Encoded
from mmkd.encoders.text import masked_mean, to_words, word_weights
from mmkd.encoders.vocabulary import Vocabulary
from mmkd.types import Hidden, Tokens

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmkd.config.encoders import Bag
    from mmkd.config.layers import Layer
    from mmkd.data.tokens import TextReader


class BagEncoder(nn.Module):
    """Words to features, of width `width`. Its one layer, 0, is the words' own vectors."""

    depth, layers = 1, (0,)
    heads: Mapping[str, int] = {}

    def __init__(self, config: Bag, reader: TextReader, layers: Sequence[Layer] = ()) -> None:
        """reader: encodes this encoder's texts. layers: the hidden layers to return.

        Raises ValueError for another layer than 0.
        """
        super().__init__()
        require_one_layer(layers, "a bag of words")
        self.width = config.width
        self.vectors = Vocabulary(reader.vocabulary, config.width)
        # As wide as a linear layer's own start would make a sum over a text's tokens; PyTorch's 1.0 is for lookups.
        nn.init.normal_(self.vectors.weight, std=config.width**-0.5)

    @property
    def embedding(self) -> nn.Module:
        """From the ids of sub-tokens, [B, S], to their vectors, [B, S, E]."""
        return self.vectors

    def width_of(self, layer: Layer) -> int:
        """Width of the words."""
        return self.width

    def forward(self, tokens: Tokens, words: int) -> Encoded:
        """words: W, the padded number of words. A text without words gives zeros; special tokens do not count."""
        vectors = self.vectors(tokens.ids)
        weights, kept = word_weights(tokens.word, words, "mean")
        hidden = Hidden(to_words(weights, vectors), kept)
        return Encoded(masked_mean(vectors, tokens.mask & (tokens.word >= 0)), {0: hidden})


def require_one_layer(layers: Sequence[Layer], what: str) -> None:
    """Raises ValueError for another layer than 0."""
    if absent := [layer for layer in layers if layer != 0]:
        raise ValueError(f"layers {absent}: {what} has the layer 0 alone")
