"""Random weights: the softmax of standard normal numbers, new in every step, the same for a seed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torch import nn

from mmkd.weighting.rlw import Config, Weighting


def drawn(steps: int, seed: int = 0, tasks: tuple[str, ...] = ("a", "b", "c")) -> np.ndarray:
    """The weights of each step, [steps, tasks]."""
    weighting = Weighting(Config(seed=seed), ["a", "b", "c"])
    own = nn.Parameter(torch.ones((), dtype=torch.float64))
    found = [weighting.backward(dict.fromkeys(tasks, own * 1), None, [], []) for _ in range(steps)]
    return np.array([list(weights.values()) for weights in found])


def test_logarithms_of_ratios_are_normal() -> None:
    """log(w_a / w_b) is a difference of two standard normal numbers; the weights sum to 1."""
    weights = drawn(2000)
    assert weights.sum(1) == pytest.approx(np.ones(2000), rel=1e-5)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        assert kstest(np.log(weights[:, i] / weights[:, j]), "norm", args=(0, math.sqrt(2))).pvalue > 0.001


def test_an_absent_task_changes_no_ratio_of_the_others() -> None:
    whole, parts = drawn(20), drawn(20, tasks=("a", "c"))
    assert parts[:, 0] / parts[:, 1] == pytest.approx(whole[:, 0] / whole[:, 2], rel=1e-5)


def test_control_another_distribution() -> None:
    weights = np.random.default_rng(0).dirichlet([1, 1, 1], size=2000)
    assert kstest(np.log(weights[:, 0] / weights[:, 1]), "norm", args=(0, math.sqrt(2))).pvalue < 0.001
