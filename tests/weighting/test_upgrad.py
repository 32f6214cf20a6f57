"""UPGrad against its closed form for two tasks and the optimality conditions of its projection."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from mmkd.weighting import upgrad

KNOWN = ((-4.0, 1.0, 1.0), (6.0, 1.0, 1.0))
matrices = st.integers(1, 4).flatmap(
    lambda tasks: st.lists(
        st.lists(st.integers(-5, 5), min_size=3, max_size=3).map(tuple), min_size=tasks, max_size=tasks
    ).map(tuple)
)


def project(jacobian: object) -> tuple[np.ndarray, np.ndarray]:
    """Rows v of the projections, and the Gramian."""
    matrix = torch.tensor(jacobian, dtype=torch.float64)
    gramian = matrix @ matrix.T
    rows = upgrad.LeastSquaresProjector()(torch.eye(len(matrix), dtype=torch.float64), gramian)
    return rows.numpy(), gramian.numpy()


def test_known_value(graph: Callable) -> None:
    """Two tasks in conflict, by hand: task 1 adds 22/38 of task 2 and task 2 adds 22/18 of task 1; then the mean.

    The published value has TorchJD's 1e-4 on the diagonal in it, and so agrees to three digits.
    """
    built = graph(KNOWN)
    weighting = upgrad.Weighting(upgrad.Config(), ["task0", "task1"])
    weights = weighting.backward(built.losses, None, [built.shared], [built.representation])
    expected = [(1 + 22 / 18) / 2, (1 + 22 / 38) / 2]
    assert list(weights.values()) == pytest.approx(expected, rel=1e-12)
    gradient = [sum(w * row[k] for w, row in zip(expected, KNOWN, strict=True)) for k in range(3)]
    assert built.shared.grad.tolist() == pytest.approx(gradient, rel=1e-12)
    assert built.shared.grad.tolist() == pytest.approx([0.2929, 1.9004, 1.9004], abs=1e-3)


@settings(max_examples=100, deadline=None)
@given(matrices)
def test_projection_meets_its_optimality_conditions(jacobian: tuple[tuple[int, ...], ...]) -> None:
    """min v' G v for v >= u is solved exactly where v >= u, G v >= 0, and (v - u)' G v = 0."""
    rows, gramian = project(jacobian)
    size = max(gramian.trace(), 1)
    for u, v in zip(np.eye(len(rows)), rows, strict=True):
        assert (v >= u - 1e-9).all()
        assert (gramian @ v >= -1e-8 * size).all()
        assert abs((v - u) @ gramian @ v) <= 1e-8 * size


@pytest.mark.parametrize("seed", range(5))
def test_projection_equals_a_general_solver(seed: int) -> None:
    """The same quadratic problem, given to scipy's SLSQP."""
    matrix = np.random.default_rng(seed).normal(size=(3, 4))
    rows, gramian = project(matrix.tolist())
    for u, v in zip(np.eye(3), rows, strict=True):
        bounds = [(low, None) for low in u]
        found = minimize(
            lambda x: x @ gramian @ x,
            u + 0.1,
            jac=lambda x: 2 * gramian @ x,
            bounds=bounds,
            method="SLSQP",
            options={"ftol": 1e-14, "maxiter": 500},
        )
        assert v @ gramian @ v == pytest.approx(found.fun, rel=1e-7, abs=1e-10)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(matrices)
def test_the_update_opposes_no_task(jacobian: tuple[tuple[int, ...], ...]) -> None:
    rows, gramian = project(jacobian)
    assert (gramian @ rows.mean(0) >= -1e-8 * max(gramian.trace(), 1)).all()


def test_equal_tasks_are_as_one() -> None:
    rows, _ = project(((1.0, 2.0, 0.0), (1.0, 2.0, 0.0)))
    assert rows == pytest.approx(np.eye(2))


def test_opposite_tasks_cancel() -> None:
    """No direction helps both: the update is zero."""
    rows, gramian = project(((1.0, 2.0), (-1.0, -2.0)))
    weights = rows.mean(0)
    assert weights @ gramian @ weights == pytest.approx(0, abs=1e-12)


def test_control_without_projection(graph: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrad.LeastSquaresProjector, "__call__", lambda projector, U, G: U)
    with pytest.raises(AssertionError):
        test_known_value(graph)
    with pytest.raises(AssertionError):
        test_the_update_opposes_no_task()


def test_control_unconstrained_least_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without x >= 0 the minimum is the zero vector, whatever u."""
    monkeypatch.setattr(upgrad, "nnls", lambda a, b: np.linalg.lstsq(a, b, rcond=None))
    with pytest.raises(AssertionError):
        test_projection_equals_a_general_solver(0)
