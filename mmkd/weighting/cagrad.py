"""`cagrad`: conflict-averse gradient descent (Liu et al. 2021, 2110.14048, algorithm 1).

The update d helps the task that it helps least as much as possible, within a ball around the mean gradient g0:
max_d min_i g_i' d for |d - g0| <= c |g0|. Its dual gives d = g0 + c |g0| g_w / |g_w|, where g_w is the convex
combination with least g_w' g0 + c |g0| |g_w|. One task alone has weight 1 + c.

LibMTL's default divides d by 1 + c^2; the paper does not, nor does this. TorchJD solves the dual with cvxpy, which the
suite does without; where g_w is 0, and its direction undefined, TorchJD's update is 0 and this one is g0, which lies in
the ball: so a task whose gradient is 0 does not stop the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from scipy.optimize import brentq
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import Fraction
from mmkd.weighting import base
from mmkd.weighting._gramian import root, shortest
from mmkd.weighting._torchjd import by_gramian, combine_gradients, unit_size

VANISHING = 1e-10
"""Of the mean size of gradients: a combination shorter than this counts as 0."""


class Config(WeightingConfig):
    """c: radius of the ball around the mean gradient, in its lengths. 0 is the mean; 1 may stop at any Pareto point."""

    kind: Literal["cagrad"] = "cagrad"
    c: Fraction = 0.5


class Weighting(base.Weighting):
    """The mean gradient, turned towards the task that it helps least."""

    config: Config

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the update, at least 1 / tasks each."""
        aggregator = by_gramian(lambda gramian: averse(unit_size(gramian), self.config.c))
        return combine_gradients(aggregator, by_task, rest, shared_parameters)


def averse(gramian: np.ndarray, c: float) -> np.ndarray:
    """The weights of algorithm 1.

    With r = c |g0|, r |g_w| is the least of r (|g_w|^2 / s + s) / 2 over s > 0. For a given s the best combination is
    the shortest one of the vectors g_i + g0 s / r; the best s is where that combination has |g_w| = s.
    """
    gradients = root(gramian)
    tasks = len(gramian)
    equal = np.full(tasks, 1 / tasks)
    mean = gradients @ equal
    radius = c * np.linalg.norm(mean)
    largest = np.sqrt(gramian.diagonal().max())
    if radius <= VANISHING:
        return equal

    def combination(size: float) -> np.ndarray:
        return shortest(gradients + mean[:, None] * (size / radius))

    def excess(size: float) -> float:
        return size - float(np.linalg.norm(gradients @ combination(size)))

    if excess(VANISHING) >= 0:
        return equal
    size = largest if excess(largest) <= 0 else brentq(excess, VANISHING, largest, xtol=1e-15, rtol=1e-14)
    found = combination(size)
    return equal + radius / np.linalg.norm(gradients @ found) * found
