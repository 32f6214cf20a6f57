"""Small pieces of math that several losses share."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_NORM = 1e-4
"""Shorter vectors are not stretched to length 1: their direction is noise, and its gradient would explode."""


def full_precision(values: Tensor) -> Tensor:
    """Half-precision values as float32; float32 and float64 as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mean_or_zero(values: Tensor) -> Tensor:
    """Mean over all elements. Without any: 0, still part of the graph, so that its gradient is 0 and not absent."""
    return values.sum() / max(values.numel(), 1)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) over the last dimension, in nats; log-probabilities [..., K] to [...]."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def unit(values: Tensor) -> Tensor:
    """Vectors [..., D] scaled to length 1."""
    return values / values.square().sum(-1, keepdim=True).clamp(min=SMALLEST_NORM**2).sqrt()
