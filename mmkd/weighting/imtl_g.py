"""`imtl_g`: impartial multi-task learning, gradient balance (Liu et al. 2021, ICLR, section 3.1), by TorchJD.

The update's projections onto all tasks' gradients are equally long, with weights that sum to 1: w is proportional to
G^-1 n, n the gradients' norms. TorchJD takes the pseudo-inverse of G, which is defined for gradients that depend on one
another too. A weight may be negative, as in the paper. A task whose gradient is 0 has weight 0; where the weights would
sum to 0 (opposite gradients, or none at all), they are all 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchjd.aggregation import IMTLGWeighting

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._torchjd import by_gramian, combine_gradients, unit_size


class Config(WeightingConfig):
    """No keys."""

    kind: Literal["imtl_g"] = "imtl_g"


class Weighting(base.Weighting):
    """Equal projections onto all gradients."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the update."""
        aggregator = by_gramian(lambda gramian: IMTLGWeighting()(torch.as_tensor(unit_size(gramian))).numpy())
        return combine_gradients(aggregator, by_task, rest, shared_parameters)
