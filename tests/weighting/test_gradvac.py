"""Turned gradients: as PCGrad where no cosine was met before, and of the target's cosine after one turn."""

from __future__ import annotations

import numpy as np
import pytest

from mmkd.weighting import gradvac
from mmkd.weighting.gradvac import vaccinate

JACOBIAN = np.array(((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0)))


def turned_gradient(target: float) -> np.ndarray:
    """The first gradient after its turn towards the second alone: what is left of the sum without the second's own."""
    targets = np.array([[0.0, target], [-1.0, 0.0]])  # the second is never turned
    weights, _ = vaccinate(JACOBIAN @ JACOBIAN.T, targets, 0.5, np.random.default_rng(0))
    return weights @ JACOBIAN - JACOBIAN[1]


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("target", [-0.5, 0.0, 0.3, 0.9])
def test_a_turn_reaches_its_target(target: float) -> None:
    assert cosine(*JACOBIAN) < target
    assert cosine(turned_gradient(target), JACOBIAN[1]) == pytest.approx(target, abs=1e-12)


def test_a_cosine_above_its_target_is_left_alone() -> None:
    assert turned_gradient(-0.9) == pytest.approx(JACOBIAN[0])


def test_targets_of_zero_are_pcgrad() -> None:
    weights, _ = vaccinate(JACOBIAN @ JACOBIAN.T, np.zeros((2, 2)), 0.01, np.random.default_rng(0))
    assert weights @ JACOBIAN == pytest.approx([0.5848, 3.8012, 3.8012], abs=5e-5)


def test_targets_follow_the_cosines() -> None:
    """(1 - beta) q + beta p, p before the turn; the diagonal stays."""
    before = np.array([[0.7, 0.2], [-0.1, 0.7]])
    _, after = vaccinate(JACOBIAN @ JACOBIAN.T, before, 0.25, np.random.default_rng(0))
    p = cosine(*JACOBIAN)
    assert after == pytest.approx(np.array([[0.7, 0.75 * 0.2 + 0.25 * p], [-0.075 + 0.25 * p, 0.7]]))


def test_a_target_near_one_is_finite() -> None:
    """Two tasks whose gradients agreed for a million steps, and now disagree."""
    targets = np.ones((2, 2))
    weights, _ = vaccinate(JACOBIAN @ JACOBIAN.T, targets, 0.01, np.random.default_rng(0))
    assert np.isfinite(weights).all()


def test_control_a_target_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradvac, "HIGHEST", 1.0)
    with np.errstate(all="ignore"), pytest.raises(AssertionError):
        test_a_target_near_one_is_finite()


def test_three_tasks_follow_the_algorithm_in_the_order_drawn() -> None:
    """Algorithm 1 on vectors, with the cosines of what has been turned already."""
    jacobian = np.random.default_rng(3).normal(size=(3, 4))
    targets = np.full((3, 3), 0.4)
    weights, after = vaccinate(jacobian @ jacobian.T, targets, 0.1, np.random.default_rng(8))
    orders, expected, own = np.random.default_rng(8), np.zeros(4), targets.copy()
    for i in range(3):
        gradient = jacobian[i].copy()
        for j in orders.permutation(3):
            if i == j:
                continue
            p, q = cosine(gradient, jacobian[j]), own[i, j]
            if p < q:
                size = np.linalg.norm(gradient) * (q * (1 - p * p) ** 0.5 - p * (1 - q * q) ** 0.5)
                gradient = gradient + size / (np.linalg.norm(jacobian[j]) * (1 - q * q) ** 0.5) * jacobian[j]
            own[i, j] = 0.9 * q + 0.1 * p
        expected += gradient
    assert weights @ jacobian == pytest.approx(expected)
    assert after == pytest.approx(own)
