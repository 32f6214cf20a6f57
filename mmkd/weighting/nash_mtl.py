"""`nash_mtl`: multi-task learning as a bargaining game (Navon et al. 2022, 2202.01017, claim 3.1).

The update maximises the product of what the tasks gain, g_i' d, in a ball: d = sum_i w_i g_i with G w = 1 / w, entry by
entry. So each task gains the same, w_i (g_i' d) = 1, and |d| is the square root of the number of tasks, whatever the
size of the gradients; one task alone is its gradient divided by its norm.

The system is solved exactly: it is the lowest point of a convex function. The authors' code, and TorchJD's from it,
linearise it some twenty times with cvxpy and ECOS, and shorten the update to norm 1 (`max_norm` here; null as in the
paper). A task whose gradient is 0 has weight 0, and the others bargain without it. Where gradients cancel one another
there is no solution: their cosines' eigenvalues count as at least 1e-8, and the update is as good as 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import PositiveFloat
from mmkd.weighting import base
from mmkd.weighting._gramian import fair
from mmkd.weighting._torchjd import by_gramian, combine_gradients


class Config(WeightingConfig):
    """max_norm: greatest norm of the update of the shared parameters; null: none, as in the paper."""

    kind: Literal["nash_mtl"] = "nash_mtl"
    max_norm: PositiveFloat | None = None


class Weighting(base.Weighting):
    """The Nash bargaining solution."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the update."""
        return combine_gradients(by_gramian(self._bargain), by_task, rest, shared_parameters)

    def _bargain(self, gramian: np.ndarray) -> np.ndarray:
        weights = fair(gramian, alpha=1.0)
        norm = np.sqrt(max(weights @ gramian @ weights, 0))
        if self.config.max_norm is not None and norm > self.config.max_norm:
            weights = weights * (self.config.max_norm / norm)
        return weights
