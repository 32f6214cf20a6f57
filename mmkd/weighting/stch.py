"""`stch`: smooth Tchebycheff scalarization (Lin et al. 2024, 2402.19078).

The objective is mu log sum_k exp(p_k (L_k - z_k) / mu): a smooth form of the greatest p_k (L_k - z_k), which it nears
as mu falls. p: preferences, which sum to 1 over the tasks of the batch; z: the least losses that can be hoped for. Its
gradient has the weights p_k softmax(p (L - z) / mu)_k. LibMTL takes the logarithms of losses, and reference points
from a warm-up, instead of z; the paper's equation does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import PositiveFloat
from mmkd.weighting import base
from mmkd.weighting._scalar import rest_alone, values_of, weighted_backward


class Config(WeightingConfig):
    """mu: smoothness, in units of the losses; the less, the more the worst task counts alone.

    preferences: task -> how much it counts beside the others; 1 for a task that is not named. reference: task -> the
    loss that counts as reached; 0 for a task that is not named.
    """

    kind: Literal["stch"] = "stch"
    mu: PositiveFloat = 1.0
    preferences: dict[str, PositiveFloat] = {}
    reference: dict[str, float] = {}


class Weighting(base.Weighting):
    """Gradient of the smooth maximum."""

    config: Config

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Raises ValueError when a preference or reference names no task."""
        super().__init__(config, tasks)
        for key, named in (("preferences", config.preferences), ("reference", config.reference)):
            if unknown := sorted(set(named) - set(self.tasks)):
                raise ValueError(f"weighting.{key}: found {unknown}; expected names of tasks: {list(self.tasks)}")

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the smooth maximum's derivatives by each loss."""
        if not by_task:
            return rest_alone(rest)
        values = values_of(by_task)
        preferences = values.new_tensor([self.config.preferences.get(task, 1.0) for task in by_task])
        preferences = preferences / preferences.sum()
        reference = values.new_tensor([self.config.reference.get(task, 0.0) for task in by_task])
        weights = preferences * torch.softmax(preferences * (values - reference) / self.config.mu, 0)
        return weighted_backward(by_task, weights, rest)
