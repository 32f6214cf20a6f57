"""The adapter to TorchJD (torchjd.org, Quinton and Rey, 2406.16232) for the methods that combine gradients.

Shared parameters get the tasks' gradients in the method's combination; every other parameter of a task (its head, the
projections of its terms) gets that task's own gradient, unweighted, since no other task pulls at it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torchjd import autojac
from torchjd.aggregation import GramianWeightedAggregator


def combine_gradients(
    aggregator: GramianWeightedAggregator,
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
        weights = autojac.jac_to_grad(shared, aggregator, optimize_gramian_computation=True)
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
