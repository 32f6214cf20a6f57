"""`gradvac`: gradient vaccine (Wang et al. 2021, 2010.05874, algorithm 1).

Each task's gradient is turned towards every other task's, one after another in random order, where their cosine lies
below a target: with cosine p and target q, g_i gains |g_i| (q sqrt(1 - p^2) - p sqrt(1 - q^2)) / (|g_j| sqrt(1 - q^2))
times g_j, and has the cosine q to it then. The results are summed. Each pair's target follows its cosine, met before
the turn: q becomes (1 - beta) q + beta p. It starts at 0, so that the first step is that of `pcgrad`.

All shared parameters together have one cosine; the paper also takes them layer by layer. A task whose gradient is 0
turns no other, is not turned, and its targets stay; nor is one turned whose gradient the turns before brought to 0.
TorchJD has the method, with a state that is in no state dict and knows of no absent task: so the turns are made here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import Fraction
from mmkd.weighting import base
from mmkd.weighting._torchjd import by_gramian, combine_gradients, unit_size

HIGHEST = 1 - 1e-6
"""Greatest target: at 1 the turn is undefined."""


class Config(WeightingConfig):
    """beta: how fast targets follow the cosines, per step. seed: of the orders, with the number of steps done."""

    kind: Literal["gradvac"] = "gradvac"
    beta: Fraction = 0.01
    seed: Annotated[int, Field(ge=0)] = 0


class Weighting(base.Weighting):
    """Gradients as alike as they used to be. State: a target of each pair of tasks, and the number of steps done."""

    config: Config
    targets: Tensor
    steps: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start at step 0, with all targets 0."""
        super().__init__(config, tasks)
        self.register_buffer("targets", torch.zeros(len(self.tasks), len(self.tasks)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the sum."""
        present = [self.tasks.index(task) for task in by_task]
        chooser = np.random.default_rng([self.config.seed, int(self.steps)])

        def solve(gramian: np.ndarray) -> np.ndarray:
            pairs = np.ix_(present, present)
            targets = self.targets.cpu().double().numpy()
            weights, targets[pairs] = vaccinate(unit_size(gramian), targets[pairs], self.config.beta, chooser)
            self.targets.copy_(torch.as_tensor(targets))
            return weights

        weights = combine_gradients(by_gramian(solve), by_task, rest, shared_parameters)
        self.steps += 1
        return weights


def vaccinate(
    gramian: np.ndarray, targets: np.ndarray, beta: float, chooser: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The weights of the sum of the turned gradients, and the targets after the step; all [M] or [M, M]."""
    tasks = len(gramian)
    norms = np.sqrt(gramian.diagonal().clip(min=0))
    turned, after = np.eye(tasks), targets.copy()
    for i in range(tasks):
        for j in chooser.permutation(tasks):
            own = np.sqrt(max(turned[i] @ gramian @ turned[i], 0))
            if i == j or norms[j] == 0 or own <= norms[i] * 1e-12:
                continue
            cosine = np.clip(turned[i] @ gramian[j] / (own * norms[j]), -1, 1)
            target = min(targets[i, j], HIGHEST)
            if cosine < target:
                high = np.sqrt(1 - target**2)
                turned[i, j] += own * (target * np.sqrt(1 - cosine**2) - cosine * high) / (norms[j] * high)
            after[i, j] = (1 - beta) * targets[i, j] + beta * cosine
    return turned.sum(0), after
