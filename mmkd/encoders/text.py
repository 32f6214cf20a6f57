"""A transformers encoder that speaks in words: its sub-tokens are pooled to the words that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from einops import einsum
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig
from transformers.utils import ModelOutput

from mmkd.config.layers import Layer
from mmkd.encoders.base import COMPILED, Encoded
from mmkd.encoders.prefix import Prefix
from mmkd.encoders.taps import Taps
from mmkd.encoders.vocabulary import with_vocabulary
from mmkd.pretrained import pretrained_config, pretrained_model
from mmkd.types import Hidden, Tokens

if TYPE_CHECKING:
    from mmkd.config.encoders import TextEncoder as Config
    from mmkd.data.tokens import TextReader


class TextEncoder(nn.Module):
    """Words to features. `depth` blocks of width `width`; layer n is the output of block n, counted from 0.

    heads: name of each query, key and value that is returned -> its number of heads.
    """

    def __init__(self, config: Config, reader: TextReader, layers: Sequence[Layer] = ()) -> None:
        """reader: encodes this encoder's texts. layers: the layers to return, beside the last (`mmkd.config.layers`).

        Raises ValueError for a layer that the model does not have, texts longer than it can read, and a model that
        padding reaches.
        """
        super().__init__()
        self.pooling = config.pooling
        self.prefix: Prefix | None = None
        if config.model is not None:
            self.model = pretrained_model(config)
        else:
            self.model = AutoModel.from_config(architecture_of(config, reader))
        with_vocabulary(self.model, self.model.get_input_embeddings())
        self.depth: int = self.model.config.num_hidden_layers
        self.width: int = self.model.config.hidden_size
        numbers = [layer for layer in layers if isinstance(layer, int)]
        if absent := [layer for layer in numbers if not 0 <= layer < self.depth]:
            raise ValueError(f"layers {absent}: this text encoder has the layers 0 to {self.depth - 1}")
        self.blocks = sorted({*numbers, self.depth - 1})
        names = sorted({layer for layer in layers if isinstance(layer, str)})
        self.layers: list[Layer] = [*self.blocks, *names]
        self._taps = Taps(self.model, names, self.depth)
        self.heads = self._taps.heads
        self._check_length(reader)
        self._check_padding(reader)
        self._widths = self._check_taps(reader)

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

    @property
    def embedding(self) -> nn.Module:
        """From the ids of sub-tokens, [B, S], to the vectors that the model starts from, [B, S, E]."""
        found: nn.Module = self.model.get_input_embeddings()
        return found

    @torch.no_grad()
    def _check_taps(self, reader: TextReader) -> dict[Layer, int]:
        """The width of each layer that has a name."""
        if len(self.layers) == len(self.blocks):
            return {}
        training, fused = self.model.training, self.model.config._attn_implementation
        self.model.eval()
        # Other tokens at each place: scores of equal ones would say less.
        ids = torch.tensor([[n for n in range(7) if n != reader.padding][: min(6, reader.max_tokens)]])
        blocks = self._taps.attention_blocks()
        if blocks:
            self.model.set_attn_implementation("eager")  # the fused one computes no probabilities
        try:
            attentions = self.model(input_ids=ids, output_attentions=bool(blocks)).attentions
        finally:
            self.model.set_attn_implementation(fused)
            self.model.train(training)
        said = self._taps.take()
        for name, values in said.items():
            if values.ndim != 3 or values.shape[:2] != ids.shape:
                shape, wanted = list(values.shape), [*ids.shape, "D"]
                raise ValueError(f"layer {name}: of {ids.shape[1]} tokens it has the shape {shape}; expected {wanted}")
        for block in blocks:
            self._taps.require_whole_attention(said, block, attentions[block])
        return {name: values.shape[-1] for name, values in said.items()}

    def width_of(self, layer: Layer) -> int:
        """Width of a layer's words."""
        return self._widths[layer] if isinstance(layer, str) else self.width

    def compile_network(self) -> None:
        """Have `torch.compile` make the forward pass of the transformer, for batches of any shape."""
        self.model.compile(**COMPILED)

    @torch.no_grad()
    def add_prefix(self, tokens: int, max_tokens: int) -> None:
        """Give each block learned keys and values of so many positions; these alone learn.

        max_tokens: of the longest text. Raises ValueError for a model that takes none, or has too few positions.
        """
        kind, pad = self.model.config.model_type, self.model.config.pad_token_id
        ids, mask = torch.full((1, max_tokens), int(pad == 0)), torch.ones((1, max_tokens), dtype=torch.long)
        training = self.training
        self.eval()
        before = self._read(ids[:, :2], mask[:, :2]).last_hidden_state
        self.model.requires_grad_(False)
        self.prefix = Prefix(self.model.config, tokens)
        try:
            after = self._read(ids[:, :2], mask[:, :2]).last_hidden_state
        except (IndexError, RuntimeError, TypeError) as error:
            raise ValueError(f"a {kind} takes no prefix ({error}); expected an encoder such as bert") from error
        if torch.equal(before, after):
            raise ValueError(f"a prefix changes nothing in a {kind}; expected an encoder such as bert")
        try:
            self._read(ids, mask)
        except (IndexError, RuntimeError) as error:
            text = f"{tokens} tokens and texts of {max_tokens} are more than the encoder can read ({error})"
            raise ValueError(f"{text}; lower `tokens` or `max_tokens`") from error
        self.train(training)

    def _read(self, ids: Tensor, mask: Tensor) -> ModelOutput:
        """What the transformer says of ids [B, S] with a mask of 0 and 1, all its hidden states too."""
        if self.prefix is None:
            return self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
        past, longer = self.prefix(mask)
        return self.model(input_ids=ids, attention_mask=longer, past_key_values=past, output_hidden_states=True)

    def forward(self, tokens: Tokens, words: int) -> Encoded:
        """words: W, the padded number of words. A word without a sub-token has mask False and zero features."""
        out = self._read(tokens.ids, tokens.mask.long())
        weights, kept = word_weights(tokens.word, words, self.pooling)
        last = out.last_hidden_state  # some models normalise it once more than their last hidden state
        blocks = {n: last if n == self.depth - 1 else out.hidden_states[n + 1] for n in self.blocks}
        layers: dict[Layer, Tensor] = {**blocks, **self._taps.take()}
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
