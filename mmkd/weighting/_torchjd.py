"""The adapter to TorchJD (torchjd.org, Quinton and Rey, 2406.16232) for the methods that combine gradients.

Shared parameters get the tasks' gradients in the method's combination; every other parameter of a task (its head, the
projections of its terms) gets that task's own gradient, unweighted, since no other task pulls at it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torchjd import autojac
from torchjd.aggregation import Aggregator, GramianWeightedAggregator, Weighting
from torchjd.linalg import PSDMatrix

from mmkd.weighting.base import order_gradients

Solve = Callable[[np.ndarray], np.ndarray]
"""From the inner products of the tasks' gradients, [M, M], to their weights, [M]."""

Aggregate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From the tasks' gradients, [M, N], to the update, [N], and what is reported as the tasks' weights, [M]."""


class OnHost(Weighting[PSDMatrix]):
    """Weights from the Gramian alone, solved in float64 on the host: one transfer of M x M numbers."""

    def __init__(self, solve: Solve) -> None:
        """solve: is given the Gramian."""
        super().__init__()
        self._solve = solve

    def forward(self, gramian: PSDMatrix, /) -> Tensor:
        """The weights, where the gradients are."""
        found = self._solve(gramian.detach().cpu().double().numpy())
        return torch.as_tensor(found, dtype=gramian.dtype, device=gramian.device)


class ByMatrix(Aggregator):
    """An update that is no weighted sum, or keeps something of each task's gradient."""

    weights: Tensor

    def __init__(self, aggregate: Aggregate) -> None:
        """aggregate: is given the matrix of gradients."""
        super().__init__()
        self._aggregate = aggregate

    def forward(self, matrix: Tensor, /) -> Tensor:
        """The update."""
        with torch.no_grad():
            update, self.weights = self._aggregate(matrix)
        return update


def by_gramian(solve: Solve) -> GramianWeightedAggregator:
    """The gradients' sum with weights that their inner products determine."""
    return GramianWeightedAggregator(OnHost(solve))


def unit_size(gramian: np.ndarray) -> np.ndarray:
    """The Gramian of the gradients divided by their root mean square norm; zero gradients stay zero.

    Absolute thresholds of TorchJD's solvers are relative to the gradients then.
    """
    size = gramian.trace() / len(gramian)
    return gramian / size if size > 0 else gramian


def combine_gradients(
    aggregator: GramianWeightedAggregator | ByMatrix,
    by_task: Mapping[str, Tensor],
    rest: Tensor | None,
    shared_parameters: Sequence[nn.Parameter],
) -> dict[str, float]:
    """Add to `.grad` as the module says; return each task's weight in the combination.

    Gradients are taken at the shared parameters themselves, so that no path to them is missed, and one task at a
    time, since several at once go through `torch.vmap`, which not every operation supports. `rest` is simply added.
    """
    losses = list(by_task.values())
    shared = [parameter for parameter in shared_parameters if parameter.requires_grad]
    weights = torch.ones(len(losses))
    if losses and shared:
        autojac.backward(losses, inputs=shared, retain_graph=True, parallel_chunk_size=1)
        if isinstance(aggregator, ByMatrix):
            autojac.jac_to_grad(shared, aggregator)
            weights = aggregator.weights
        else:
            weights = autojac.jac_to_grad(shared, aggregator, optimize_gramian_computation=True)
        order_gradients(shared)
    if losses and (own := _leaves(losses, exclude=shared)):
        torch.autograd.backward(losses, inputs=own, retain_graph=True)
    if rest is not None:
        rest.backward()
    return dict(zip(by_task, weights.tolist(), strict=True))


def _leaves(tensors: Sequence[Tensor], exclude: Sequence[Tensor]) -> list[Tensor]:
    """Leaves of the tensors' graphs that want a gradient, in the order met, but for those excluded."""
    excluded = {id(tensor) for tensor in exclude}
    waiting = [tensor.grad_fn for tensor in tensors if tensor.grad_fn is not None]
    met, leaves = set(waiting), []
    while waiting:
        node = waiting.pop()
        if node.name().endswith("AccumulateGrad"):
            leaf: Tensor = node.variable  # type: ignore[attr-defined]  # a node of this sort holds its leaf
            if id(leaf) not in excluded:
                leaves.append(leaf)
        for parent, _ in node.next_functions:
            if parent is not None and parent not in met:
                met.add(parent)
                waiting.append(parent)
    return leaves
