"""`gls`: geometric loss strategy (Chennupati et al. 2019, 1904.08492).

The objective is the geometric mean of the losses of the K tasks in the batch, (L_1 .. L_K)^(1 / K). Its gradient has
the weights (geometric mean) / (K L_k). It is for positive losses: one below 1e-8, a negative one too, counts as 1e-8,
in the weights alone, so that they stay finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._scalar import LEAST, rest_alone, values_of, weighted_backward


class Config(WeightingConfig):
    """No keys."""

    kind: Literal["gls"] = "gls"


class Weighting(base.Weighting):
    """Gradient of the geometric mean."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the geometric mean's derivatives by each loss."""
        if not by_task:
            return rest_alone(rest)
        logs = values_of(by_task).clamp(min=LEAST).log()
        return weighted_backward(by_task, torch.exp(logs.mean() - logs) / len(by_task), rest)
