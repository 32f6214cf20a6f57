"""`famo`: fast adaptive multitask optimization (Liu et al. 2023, 2306.03792, algorithm 1).

With logits x of the tasks and z = softmax(x), the weights are c z_k / L_k, where c makes them sum to 1: the gradient of
the sum of z_k log L_k, scaled. After the step, x loses lr (d + decay x), where d = J' (log L(t) - log L(t + 1)), J the
Jacobian of the softmax at x: a task that has fallen faster than the others gets less.

L(t + 1) is the loss in the next batch that has the task, so that no batch is read twice; the authors' code, and
TorchJD's, read the same batch again after the step, and take Adam's steps in x where algorithm 1 takes plain ones. A
task's logit moves only with its loss: J is over the tasks of the batch that have occurred before. Losses below 1e-8
count as 1e-8. Under a launcher each process goes by the losses of its own share.
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


class Config(WeightingConfig):
    """lr: of the logits, beta in the paper. decay: of the logits towards 0, gamma in the paper."""

    kind: Literal["famo"] = "famo"
    lr: NonNegativeFloat = 0.025
    decay: NonNegativeFloat = 0.001


class Weighting(base.Weighting):
    """Losses that fall at one rate. State: each task's logit, and the logarithm of its last loss, NaN before any."""

    config: Config
    logits: Tensor
    last: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start with equal logits."""
        super().__init__(config, tasks)
        self.register_buffer("logits", torch.zeros(len(self.tasks)))
        self.register_buffer("last", torch.full((len(self.tasks),), torch.nan))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights sum to 1."""
        if not by_task:
            return rest_alone(rest)
        present = [self.tasks.index(task) for task in by_task]
        values = values_of(by_task).clamp(min=LEAST).to(self.logits.dtype)
        logs = values.log()
        self.logits[present] = self._moved(self.logits[present], self.last[present] - logs)
        self.last[present] = logs
        shares = torch.softmax(self.logits[present], 0) / values
        return weighted_backward(by_task, shares / shares.sum(), rest)

    def _moved(self, logits: Tensor, fallen: Tensor) -> Tensor:
        """The logits after a step in which the losses' logarithms have fallen so far; NaN where that is not known."""
        known = ~fallen.isnan()
        shares = torch.softmax(logits.where(known, -torch.inf), 0).nan_to_num()
        fallen = fallen.nan_to_num()
        slope = shares * (fallen - (shares * fallen).sum())
        return torch.where(known, logits - self.config.lr * (slope + self.config.decay * logits), logits)
