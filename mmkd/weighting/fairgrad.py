"""`fairgrad`: fair resource allocation (Ban and Ji 2024, 2402.15638, eq. 4).

The update maximises the alpha-fair sum of what the tasks gain, (g_i' d)^(1 - alpha) / (1 - alpha): d = sum_i w_i g_i
with G w = w^(-1 / alpha), entry by entry. alpha towards 0: the plain sum; 1: `nash_mtl` without its max_norm; large:
the least gain counts.

The system is solved exactly, as the lowest point of a convex function; the authors' code, and TorchJD's from it, call
a general least squares solver. A task whose gradient is 0 has weight 0, and the others share without it. Where
gradients cancel one another there is no solution: their cosines' eigenvalues count as at least 1e-8, and the update is
as good as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._gramian import fair
from mmkd.weighting._torchjd import by_gramian, combine_gradients


class Config(WeightingConfig):
    """alpha: the more, the more the task that gains least counts. At least 0.05, where it is close to the plain sum."""

    kind: Literal["fairgrad"] = "fairgrad"
    alpha: Annotated[float, Field(ge=0.05)] = 1.0


class Weighting(base.Weighting):
    """The alpha-fair share of the tasks in an update."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the update."""
        aggregator = by_gramian(lambda gramian: fair(gramian, self.config.alpha))
        return combine_gradients(aggregator, by_task, rest, shared_parameters)
