"""A transformers encoder that speaks in words: its sub-tokens are pooled to the words that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig

from mmkd.encoders.base import COMPILED, Encoded
from mmkd.pretrained import pretrained_config, pretrained_model
from mmkd.types import Hidden, Tokens

if TYPE_CHECKING:
    from mmkd.config.encoders import TextEncoder as Config
    from mmkd.data.tokens import TextReader


class TextEncoder(nn.Module):
    """Words to features. `depth` blocks of width `width`; layer n is the output of block n, counted from 0."""

    def __init__(self, config: Config, reader: TextReader, layers: Sequence[int] = ()) -> None:
        """reader: encodes this encoder's texts. layers: the hidden layers to return, beside the last.

        Raises ValueError for a layer that the model does not have, texts longer than it can read, and a model that
        padding reaches.
        """
        super().__init__()
        self.pooling = config.pooling
        if config.model is not None:
            self.model = pretrained_model(config)
        else:
            self.model = AutoModel.from_config(architecture_of(config, reader))
        self.depth: int = self.model.config.num_hidden_layers
        self.width: int = self.model.config.hidden_size
        if absent := [layer for layer in layers if not 0 <= layer < self.depth]:
            raise ValueError(f"layers {absent}: this text encoder has the layers 0 to {self.depth - 1}")
        self.layers = sorted({*layers, self.depth - 1})
        self._check_length(reader)
        self._check_padding(reader)

    @torch.no_grad()
    def _check_length(self, reader: TextReader) -> None:
        # Families count their positions differently, so the longest text is tried.
        training = self.model.training
        self.model.eval()
        try:
            self.model(input_ids=torch.full((1, reader.max_tokens), int(reader.padding == 0)))
        except (IndexError, RuntimeError) as error:
            raise ValueError(
                f"max_tokens: found {reader.max_tokens}, which is more than this text encoder can read ({error}); "
                "lower it, or give the architecture more positions"
            ) from error
        self.model.train(training)

    @torch.no_grad()
    def _check_padding(self, reader: TextReader) -> None:
        # Batches are padded to their longest text, and what was said of a text is kept for other batches.
        training = self.model.training
        self.model.eval()
        short, wide = 3, min(6, reader.max_tokens)
        token = int(reader.padding == 0)
        padded = torch.tensor([[token] * short + [reader.padding] * (wide - short)])
        kept = (torch.arange(wide) < short).long()[None]
        alone = self.model(input_ids=padded[:, :short], attention_mask=kept[:, :short]).last_hidden_state
        among = self.model(input_ids=padded, attention_mask=kept).last_hidden_state[:, :short]
        self.model.train(training)
        rounding = 1000 * torch.finfo(alone.dtype).eps * alone.abs().max()
        if (alone - among).abs().max() > rounding:
            raise ValueError(
                f"{self.model.config.model_type}: padding changes what it says of a text, so that a text's features "
                "would depend on its batch; expected an architecture that masks its padding"
            )

    def width_of(self, layer: int) -> int:
        """Width of a layer's words."""
        return self.width

    def compile_network(self) -> None:
        """Have `torch.compile` make the forward pass of the transformer, for batches of any shape."""
        self.model.compile(**COMPILED)

    def forward(self, tokens: Tokens, words: int) -> Encoded:
        """words: W, the padded number of words. A word without a sub-token has mask False and zero features."""
        out = self.model(input_ids=tokens.ids, attention_mask=tokens.mask.long(), output_hidden_states=True)
        weights, kept = word_weights(tokens.word, words, self.pooling)
        last = out.last_hidden_state  # some models normalise it once more than their last hidden state
        layers = {n: last if n == self.depth - 1 else out.hidden_states[n + 1] for n in self.layers}
        hidden = {n: Hidden(to_words(weights, values), kept) for n, values in layers.items()}
        return Encoded(masked_mean(last, tokens.mask), hidden)


def architecture_of(config: Config, reader: TextReader) -> PretrainedConfig:
    """The transformers config of a text encoder: the pretrained model's own, or one from its keys."""
    if config.model is not None:
        return pretrained_config(config)
    assert config.architecture is not None  # checked by the config
    keys = {"vocab_size": reader.vocabulary, "pad_token_id": reader.padding, **config.architecture}
    return AutoConfig.for_model(**keys)


def word_weights(
    word: Int[Tensor, "B S"], words: int, pooling: str
) -> tuple[Float[Tensor, "B S W"], Bool[Tensor, "B W"]]:
    """Share of each sub-token in each word (`first`: its first sub-token alone; `mean`: all alike), and words kept.

    word: index of each sub-token's word, -1 for none; sub-tokens of a word stand together.
    """
    belongs = word[:, :, None] == torch.arange(words, device=word.device)
    if pooling == "first":
        previous = nn.functional.pad(word, (1, 0), value=-1)[:, :-1]
        belongs = belongs & (word != previous)[:, :, None]
    counts = belongs.sum(1)
    return belongs / counts.clamp(min=1)[:, None, :], counts > 0


def to_words(weights: Float[Tensor, "B S W"], values: Float[Tensor, "B S D"]) -> Float[Tensor, "B W D"]:
    """Values of sub-tokens as those of words, by `word_weights`."""
    return einsum(weights.to(values.dtype), values, "b s w, b s d -> b w d")


def masked_mean(values: Float[Tensor, "B N D"], mask: Bool[Tensor, "B N"]) -> Float[Tensor, "B D"]:
    """Mean over the positions kept."""
    share = mask / mask.sum(1, keepdim=True).clamp(min=1)
    return einsum(share.to(values.dtype), values, "b n, b n d -> b d")
