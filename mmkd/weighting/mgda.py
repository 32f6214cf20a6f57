"""`mgda`: the multiple-gradient descent algorithm (Sener and Koltun 2018, 1810.04650, eq. 3; Desideri 2012).

The update is the shortest convex combination of the tasks' gradients, min |sum_i w_i g_i|^2 for w >= 0, sum(w) = 1: no
task's gradient opposes it, and it is 0 where no direction helps all tasks. So a task whose gradient is 0 stops the
shared parameters; the others' weights are 0 then, for the method has it so.

Solved exactly, as a non-negative least squares problem. TorchJD's and the authors' Frank-Wolfe iterations are exact
for two tasks and approximate for more. Gradients are taken as they are, at the shared parameters: without the authors'
optional normalisations, and not at the representation (their upper bound MGDA-UB).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._gramian import root, shortest
from mmkd.weighting._torchjd import by_gramian, combine_gradients, unit_size


class Config(WeightingConfig):
    """No keys."""

    kind: Literal["mgda"] = "mgda"


class Weighting(base.Weighting):
    """The shortest convex combination of gradients."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are those of the combination: they sum to 1."""
        aggregator = by_gramian(lambda gramian: shortest(root(unit_size(gramian))))
        return combine_gradients(aggregator, by_task, rest, shared_parameters)
