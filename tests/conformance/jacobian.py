"""Losses of tasks with a given Jacobian, small enough to compute everything by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

KNOWN = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0))
"""The Jacobian on which the methods' published values stand."""


@dataclass
class Graph:
    """Losses whose gradient at `shared` is the given Jacobian, row by row, and 2, 3, .. at the tasks' own heads."""

    shared: nn.Parameter
    heads: list[nn.Parameter]
    losses: dict[str, Tensor]
    representation: Tensor


def make_graph(
    jacobian: object = KNOWN, shared: nn.Parameter | None = None, values: Sequence[float] | None = None
) -> Graph:
    """values: of the losses, where `shared` is 0; 2, 3, .. unless given."""
    matrix = torch.as_tensor(jacobian, dtype=torch.float64)
    if shared is None:
        shared = nn.Parameter(torch.zeros(matrix.shape[1], dtype=torch.float64))
    representation = shared * 1
    heads = [nn.Parameter(torch.ones((), dtype=torch.float64)) for _ in matrix]
    losses = {
        f"task{n}": row @ representation + (n + 2) * head
        for n, (row, head) in enumerate(zip(matrix, heads, strict=True))
    }
    if values is not None:
        losses = {
            task: loss + (value - (n + 2))
            for n, ((task, loss), value) in enumerate(zip(losses.items(), values, strict=True))
        }
    return Graph(shared, heads, losses, representation)
