"""`aligned_mtl`: independent component alignment (Senushkin et al. 2023, CVPR, algorithm 1), by TorchJD.

The matrix of gradients is replaced by the nearest one whose principal components are equally long, as long as its
least: with G = V L V', the weights are sqrt(l_min) V L^(-1/2) V' times the preferences, which are 1 / tasks. Components
of length 0 are left out; where all are, the weights stay 1 / tasks. A weight may be negative.

The authors' code has a variant that scales by the mean of the eigenvalues instead of the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchjd.aggregation import AlignedMTLWeighting

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._torchjd import by_gramian, combine_gradients, unit_size


class Config(WeightingConfig):
    """No keys."""

    kind: Literal["aligned_mtl"] = "aligned_mtl"


class Weighting(base.Weighting):
    """Gradients whose principal components are equally long."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the update."""
        aggregator = by_gramian(lambda gramian: AlignedMTLWeighting()(torch.as_tensor(unit_size(gramian))).numpy())
        return combine_gradients(aggregator, by_task, rest, shared_parameters)
