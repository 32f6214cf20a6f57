"""Problems over inner products: shortest combinations, averse ones, and fair ones, against general solvers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mmkd.weighting import _gramian, cagrad
from mmkd.weighting._gramian import fair, root, shortest
from mmkd.weighting.cagrad import averse

matrices = st.integers(1, 5).flatmap(
    lambda tasks: st.lists(
        st.lists(st.integers(-5, 5), min_size=3, max_size=3).map(tuple), min_size=tasks, max_size=tasks
    ).map(lambda rows: np.array(rows, dtype=float))
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(matrices)
def test_the_shortest_combination_meets_its_optimality_conditions(jacobian: np.ndarray) -> None:
    """w >= 0, sum 1, and no gradient's product with the combination is below the combination's own square."""
    weights = shortest(root(jacobian @ jacobian.T))
    found = weights @ jacobian
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    assert (jacobian @ found >= found @ found - 1e-6).all()


def test_the_shortest_combination_of_two() -> None:
    """By hand: of (3, 0) and (0, 1), the foot of the perpendicular has the weights 1/10 and 9/10."""
    assert shortest(np.array([[3.0, 0.0], [0.0, 1.0]])) == pytest.approx([0.1, 0.9])


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("c", [0.1, 0.5, 0.9])
def test_the_averse_update_is_the_best_in_its_ball(c: float, seed: int) -> None:
    """The paper's own problem, max min_i g_i' d for |d - g0| <= c |g0|, given to scipy's SLSQP as it stands."""
    jacobian = np.random.default_rng(seed).normal(size=(3, 4))
    mean = jacobian.mean(0)
    update = averse(jacobian @ jacobian.T, c) @ jacobian
    assert np.linalg.norm(update - mean) == pytest.approx(c * np.linalg.norm(mean), rel=1e-6)
    found = minimize(
        lambda x: -x[4],
        np.append(mean, (jacobian @ mean).min()),
        method="SLSQP",
        constraints=[
            {"type": "ineq", "fun": lambda x: jacobian @ x[:4] - x[4]},
            {"type": "ineq", "fun": lambda x: c**2 * mean @ mean - (x[:4] - mean) @ (x[:4] - mean)},
        ],
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    assert (jacobian @ update).min() == pytest.approx(found.x[4], abs=1e-6)


@pytest.mark.parametrize("c", [0.0, 0.5, 1.0])
def test_one_task_alone_is_lengthened_by_c(c: float) -> None:
    """The paper's form: LibMTL's would divide by 1 + c^2."""
    assert averse(np.array([[9.0]]), c) == pytest.approx([1 + c])


def test_an_averse_update_beside_a_gradient_of_zero_is_the_mean() -> None:
    assert averse(np.array([[0.0, 0.0], [0.0, 4.0]]), 0.5) == pytest.approx([0.5, 0.5])


def test_an_averse_update_beside_opposite_gradients_is_the_mean() -> None:
    """The best combination is 0 but for rounding, whose direction says nothing."""
    jacobian = np.array([[0.6, 0.8], [-0.6, -0.8], [-2.4, 1.8]]) / 3
    assert averse(jacobian @ jacobian.T, 0.5) @ jacobian == pytest.approx(jacobian.mean(0), abs=1e-6)
    assert averse(jacobian @ jacobian.T, 0.5).max() < 1e6


def test_control_a_direction_of_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cagrad, "VANISHING", 0.0)
    with pytest.raises(AssertionError):
        test_an_averse_update_beside_opposite_gradients_is_the_mean()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0, 2.0, 10.0])
def test_fair_weights_solve_their_system(alpha: float, seed: int) -> None:
    """G w = w^(-1 / alpha), also where gradients differ a thousandfold in size."""
    chooser = np.random.default_rng(seed)
    jacobian = chooser.normal(size=(4, 6)) * 10 ** chooser.uniform(-1.5, 1.5, size=(4, 1))
    gramian = jacobian @ jacobian.T
    weights = fair(gramian, alpha)
    assert weights.min() > 0
    assert gramian @ weights == pytest.approx(weights ** (-1 / alpha), rel=1e-8)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_fair_weights_of_one_task(alpha: float) -> None:
    """9 w = w^(-1 / alpha)."""
    assert fair(np.array([[9.0]]), alpha) == pytest.approx([9 ** (-alpha / (1 + alpha))])


def test_fairness_towards_zero_is_the_plain_sum() -> None:
    jacobian = np.random.default_rng(0).normal(size=(3, 8)) + 1
    assert fair(jacobian @ jacobian.T, 0.01) == pytest.approx([1, 1, 1], abs=0.05)


def test_much_fairness_raises_the_least_gain() -> None:
    """Of all directions of one length, in which the worst task gains most: for orthogonal gradients, equal gains."""
    gramian = np.diag([1.0, 100.0])
    gains = [gramian @ fair(gramian, alpha) for alpha in (0.5, 1.0, 50.0)]
    ratios = [gain[1] / gain[0] for gain in gains]
    assert ratios[0] > ratios[1] > ratios[2]
    assert ratios[2] == pytest.approx(1, abs=0.1)


def test_control_without_the_floor_under_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients that cancel one another would have infinite weights."""
    opposite = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert np.isfinite(fair(opposite, 1.0)).all()
    monkeypatch.setattr(_gramian, "THINNEST", -1.0)
    with np.errstate(all="ignore"), pytest.raises((AssertionError, np.linalg.LinAlgError)):
        assert fair(opposite, 1.0).max() < 1e6
