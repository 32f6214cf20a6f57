"""`fixed`: the weighted sum of the task groups, with weights that stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import NonNegativeFloat
from mmkd.weighting import base


class Config(WeightingConfig):
    """weights: task -> weight; 1 for a task that is not named."""

    kind: Literal["fixed"] = "fixed"
    weights: dict[str, NonNegativeFloat] = {}


class Weighting(base.Weighting):
    """Constant weights."""

    config: Config

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Raises ValueError when a weight names no task."""
        super().__init__(config, tasks)
        if unknown := sorted(set(config.weights) - set(self.tasks)):
            raise ValueError(f"weighting.weights: found {unknown}; expected names of tasks: {list(self.tasks)}")

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """Gradient of the weighted sum and the rest."""
        weights = {task: self.config.weights.get(task, 1.0) for task in by_task}
        terms = [weights[task] * loss for task, loss in by_task.items()]
        if rest is not None:
            terms.append(rest)
        if terms:
            torch.stack(terms).sum().backward()
        return weights
