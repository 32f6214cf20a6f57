"""The supervised loss of every task over classes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def mean_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over rows of -log softmax(logits)[label], in nats; logits [R, K], labels [R]. No row: 0, zero gradient.

    Half-precision logits are raised to float32 first.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return functional.cross_entropy(logits, labels, reduction="sum") / max(len(labels), 1)
