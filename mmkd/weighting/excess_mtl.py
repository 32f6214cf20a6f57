"""`excess_mtl`: robust multi-task learning with excess risks (He et al. 2024, ICML, eq. 6, 7 and 9).

A task's excess risk, how far it is from the best that it can reach, is estimated from its gradient as g' H^-1 g with
the diagonal H = sqrt(sum over the steps of g^2), and divided by its first estimate. The weights, which sum to 1, are
multiplied by exp(lr x excess): a task with much left to gain gets more, and one that is only noisy does not.

In the first step a task's relative excess is 1; the authors' code and TorchJD's take the estimate itself there, which
depends on the size of the network, and start after an optional warm-up, which the paper has of three epochs and this
has not. Only the tasks of the batch take part: an absent task's weight beside the others' stays as it is. The memory
holds, for each task, as many numbers as there are shared parameters. Heads get their own task's gradient, unweighted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import NonNegativeFloat
from mmkd.weighting import base
from mmkd.weighting._memory import GradientMemory
from mmkd.weighting._torchjd import ByMatrix, combine_gradients


class Config(WeightingConfig):
    """lr: of the weights' logarithms, per step and per unit of relative excess risk."""

    kind: Literal["excess_mtl"] = "excess_mtl"
    lr: NonNegativeFloat = 0.01


class Weighting(base.Weighting):
    """Weights by what is left to gain. State: log-weights, first excess (0 before any), and the sums of squares."""

    config: Config
    log_weights: Tensor
    first: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start with equal weights."""
        super().__init__(config, tasks)
        self.register_buffer("log_weights", torch.zeros(len(self.tasks)))
        self.register_buffer("first", torch.zeros(len(self.tasks)))
        self.squares = GradientMemory(len(self.tasks))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights sum to 1."""
        present = [self.tasks.index(task) for task in by_task]

        def weigh(gradients: Tensor) -> tuple[Tensor, Tensor]:
            squares = self.squares.rows(present, gradients) + gradients.square()
            self.squares.keep(present, squares)
            excess = (gradients.square() / squares.sqrt().where(squares > 0, 1)).sum(1).to(self.log_weights)
            first = self.first[present]
            self.first[present] = first = torch.where(first > 0, first, excess)
            logs = self.log_weights[present]
            moved = logs + self.config.lr * torch.where(first > 0, excess / first.where(first > 0, 1), 0)
            # Together they weigh as much beside the absent ones as before.
            self.log_weights[present] = moved - torch.logsumexp(moved, 0) + torch.logsumexp(logs, 0)
            weights = torch.softmax(moved, 0).to(gradients)
            return weights @ gradients, weights

        return combine_gradients(ByMatrix(weigh), by_task, rest, shared_parameters)
