"""`db_mtl`: dual-balancing (Lin et al. 2023, 2308.12029, algorithm 1).

Losses are balanced by their logarithm, so that the task gradients are those of log(L_k + 1e-8). At the shared
parameters, each is smoothed over the steps, m_k = b m_k + (1 - b) g_k with b = beta / t^decay at step t, and brought to
the length of the longest: the update is max_j |m_j| sum_k m_k / |m_k|. A task's head gets the gradient of the task's
log-loss. m_k starts at 0, as in the paper; t counts the steps that a task was in.

Only the tasks of the batch take part; a task whose m_k is 0 has no direction and is left out. Losses below 0 count as
0. Reported is the coefficient of a task's own gradient of its loss in the update; what is kept from steps before comes
on top. The memory holds, for each task, as many numbers as there are shared parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import Fraction, NonNegativeFloat
from mmkd.weighting import base
from mmkd.weighting._memory import GradientMemory
from mmkd.weighting._torchjd import ByMatrix, combine_gradients

EPSILON = 1e-8
"""Added to a loss before its logarithm."""


class Config(WeightingConfig):
    """beta: share of the past in a smoothed gradient at the first step. decay: power of the step that divides it."""

    kind: Literal["db_mtl"] = "db_mtl"
    beta: Fraction = 0.9
    decay: NonNegativeFloat = 0.5


class Weighting(base.Weighting):
    """Log-losses, and gradients of one length. State: each task's smoothed gradient and number of steps."""

    config: Config
    steps: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start with nothing smoothed."""
        super().__init__(config, tasks)
        self.register_buffer("steps", torch.zeros(len(self.tasks)))
        self.smoothed = GradientMemory(len(self.tasks))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """What is reported are the coefficients of the gradients of this step's losses in the update."""
        present = [self.tasks.index(task) for task in by_task]
        slopes = {task: 1 / (loss.detach().clamp(min=0) + EPSILON) for task, loss in by_task.items()}
        # The gradient of the logarithm, also where the loss is 0 or less and its logarithm's would be 0 or NaN.
        scaled = {task: slopes[task] * loss for task, loss in by_task.items()}

        def balance(gradients: Tensor) -> tuple[Tensor, Tensor]:
            steps = self.steps[present] + 1
            share = self.config.beta / steps.to(gradients).unsqueeze(1) ** self.config.decay
            smoothed = share * self.smoothed.rows(present, gradients) + (1 - share) * gradients
            self.smoothed.keep(present, smoothed)
            self.steps[present] = steps
            norms = smoothed.norm(dim=1)
            factors = torch.where(norms > 0, norms.max() / norms.where(norms > 0, 1), 0)
            return factors @ smoothed, factors * (1 - share.squeeze(1)) * torch.stack(list(slopes.values()))

        return combine_gradients(ByMatrix(balance), scaled, rest, shared_parameters)
