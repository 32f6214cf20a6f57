"""Prefix tuning of a transformers encoder (Li and Liang, 2101.00190): learned keys and values before those of a text.

In each block, every sub-token also attends to `tokens` learned positions. They are learned as they are, without the
paper's reparametrisation by an MLP. The encoder takes them as keys and values of the past, as peft's does: positions
that it counts go on after the prefix.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import Cache, DynamicCache, PretrainedConfig


class Prefix(nn.Module):
    """The keys and values of all blocks: [L, 2, H, N, D / H] of L blocks, H heads, N positions, width D."""

    def __init__(self, config: PretrainedConfig, tokens: int) -> None:
        """config: of the encoder. tokens: N."""
        super().__init__()
        heads = config.num_attention_heads
        shape = (config.num_hidden_layers, 2, heads, tokens, config.hidden_size // heads)
        self.values = nn.Parameter(torch.randn(shape))

    def forward(self, mask: Tensor) -> tuple[Cache, Tensor]:
        """The past of a batch, and its mask [B, N + S]. mask: [B, S] of 0 and 1."""
        rows, tokens = len(mask), self.values.shape[3]
        past = DynamicCache()
        for block, (keys, values) in enumerate(self.values):
            past.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), block)
        return past, torch.cat([mask.new_ones(rows, tokens), mask], dim=1)
