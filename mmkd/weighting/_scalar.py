"""What the weightings share that scale losses: weights without a gradient, one tensor for all tasks of a batch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

LEAST = 1e-8
"""Below it a loss counts as this much, where a method divides by losses or takes their logarithm."""


def values_of(by_task: Mapping[str, Tensor]) -> Tensor:
    """The losses as one vector, in at least float32, without their graph."""
    found = torch.stack([loss.detach() for loss in by_task.values()])
    return found.to(torch.promote_types(found.dtype, torch.float32))


def weighted_backward(by_task: Mapping[str, Tensor], weights: Tensor, rest: Tensor | None) -> dict[str, float]:
    """Gradient of the sum of weight x loss and the rest; return the weights, brought from the device in one go."""
    terms = [weight * loss for weight, loss in zip(weights.detach().unbind(), by_task.values(), strict=True)]
    if rest is not None:
        terms.append(rest)
    torch.stack(terms).sum().backward()
    return dict(zip(by_task, weights.tolist(), strict=True))


def rest_alone(rest: Tensor | None) -> dict[str, float]:
    """What is left to do in a batch without a task."""
    if rest is not None:
        rest.backward()
    return {}
