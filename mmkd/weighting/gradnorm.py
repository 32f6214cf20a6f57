"""`gradnorm`: gradient normalisation (Chen et al. 2018, 1711.02257, algorithm 1, eq. 2).

The weights w move so that the weighted gradients' norms G_k = |w_k g_k| follow the tasks' pace of training: by plain
gradient descent on the sum of |G_k - mean(G) r_k^alpha|, its target constant, with r_k = (L_k / L_k(0)) / (the mean of
these). After each step they are scaled to keep their sum. Each step's losses have the weights before the step, as in
algorithm 1.

g_k: the gradients at all shared parameters; the paper takes a layer of them, its last. All is over the tasks of the
batch: their sum is kept, so that an absent task's weight stays as it is and all together sum to the number of tasks. A
task's L_k(0) is its loss when it first occurs; losses below 1e-8 count as 1e-8. A weight stays at or above 1e-3 before
it is scaled: the paper has no bound, and a plain step could pass 0. Under a launcher each process moves by its own
share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import NonNegativeFloat
from mmkd.weighting import base
from mmkd.weighting._scalar import LEAST, rest_alone, values_of, weighted_backward

SMALLEST = 1e-3


class Config(WeightingConfig):
    """alpha: how strongly slower tasks are favoured; 0: equal norms. lr: of the weights."""

    kind: Literal["gradnorm"] = "gradnorm"
    alpha: NonNegativeFloat = 1.5
    lr: NonNegativeFloat = 0.025


class Weighting(base.Weighting):
    """Gradients of one pace. State: each task's weight, and its first loss, NaN before any."""

    config: Config
    weights: Tensor
    first: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start with all weights 1."""
        super().__init__(config, tasks)
        self.register_buffer("weights", torch.ones(len(self.tasks)))
        self.register_buffer("first", torch.full((len(self.tasks),), torch.nan))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights of this step; they move for the next."""
        if not by_task:
            return rest_alone(rest)
        present = [self.tasks.index(task) for task in by_task]
        shared = [parameter for parameter in shared_parameters if parameter.requires_grad]
        values = values_of(by_task).clamp(min=LEAST).to(self.weights.dtype)
        norms = torch.stack([gradient_norm(loss, shared) for loss in by_task.values()]).to(self.weights)
        first = self.first[present]
        self.first[present] = first = torch.where(first.isnan(), values, first)
        weights = self.weights[present]
        self.weights[present] = self._moved(weights, norms, values / first)
        return weighted_backward(by_task, weights, rest)

    def _moved(self, weights: Tensor, norms: Tensor, losses: Tensor) -> Tensor:
        """The weights after a step. losses: relative to the first ones."""
        weighted = weights * norms
        target = weighted.mean() * (losses / losses.mean()) ** self.config.alpha
        moved = (weights - self.config.lr * torch.sign(weighted - target) * norms).clamp(min=SMALLEST)
        return moved * (weights.sum() / moved.sum())


def gradient_norm(loss: Tensor, shared: Sequence[nn.Parameter]) -> Tensor:
    """Norm of a loss's gradient at the shared parameters, all together; 0 where it depends on none."""
    if not shared:
        return torch.zeros_like(loss)
    found = torch.autograd.grad(loss, shared, retain_graph=True, allow_unused=True)
    norms = [gradient.norm() for gradient in found if gradient is not None]
    return torch.stack(norms).norm() if norms else torch.zeros_like(loss)
