"""`rlw`: random loss weighting (Lin et al. 2022, 2111.10603, section 3), the control that a weighting has to beat.

At every step the weights are softmax(z) over the tasks of the batch, z standard normal and new each time. They sum to
1, as in the paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._draws import generator
from mmkd.weighting._scalar import rest_alone, weighted_backward


class Config(WeightingConfig):
    """seed: of the weights, with the number of steps done."""

    kind: Literal["rlw"] = "rlw"
    seed: Annotated[int, Field(ge=0)] = 0


class Weighting(base.Weighting):
    """Weights at random. State: the number of steps done."""

    config: Config
    steps: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start at step 0."""
        super().__init__(config, tasks)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights sum to 1. A step draws for every task, so that an absent one changes no other's numbers."""
        drawn = torch.randn(len(self.tasks), generator=generator(self.config.seed, int(self.steps)))
        self.steps += 1
        if not by_task:
            return rest_alone(rest)
        weights = torch.softmax(drawn[[self.tasks.index(task) for task in by_task]], 0)
        device = next(iter(by_task.values())).device
        return weighted_backward(by_task, weights.to(device), rest)
