"""A network of three tasks, small enough to compute everything by hand, and a graph with a given Jacobian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

KNOWN = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0))
"""The Jacobian on which the methods' published values stand."""


@dataclass
class Graph:
    """Losses whose gradient at `shared` is the given Jacobian, row by row, plus 2 and 3, .. at the tasks' own heads."""

    shared: nn.Parameter
    heads: list[nn.Parameter]
    losses: dict[str, Tensor]
    representation: Tensor


@pytest.fixture
def graph() -> Callable[..., Graph]:
    def build(jacobian: object = KNOWN, shared: nn.Parameter | None = None) -> Graph:
        matrix = torch.as_tensor(jacobian, dtype=torch.float64)
        if shared is None:
            shared = nn.Parameter(torch.zeros(matrix.shape[1], dtype=torch.float64))
        representation = shared * 1
        heads = [nn.Parameter(torch.ones((), dtype=torch.float64)) for _ in matrix]
        losses = {
            f"task{n}": row @ representation + (n + 2) * head
            for n, (row, head) in enumerate(zip(matrix, heads, strict=True))
        }
        return Graph(shared, heads, losses, representation)

    return build
