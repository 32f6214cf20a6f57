"""The task over a real value, against loops and scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import mean_absolute_error

from mmkd.tasks import _metrics, regress


def task(delta: float | None = None) -> regress.Task:
    return regress.Task(regress.Config(delta=delta), "stress", ())


def scores(labels: np.ndarray, values: np.ndarray) -> dict[str, float]:
    found = task().score(list(labels), list(values[:, None]))
    assert list(found) == ["pearson", "spearman", "mae"]
    assert [score.direction for score in found.values()] == ["maximize", "maximize", "minimize"]
    assert {score.n for score in found.values()} == {len(labels)}
    return {name: score.value for name, score in found.items()}


def outcomes(seed: int, rows: int = 30, coarse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels as a batch has them, float32, and values that follow them somewhat; many ties when coarse."""
    rng = np.random.default_rng(seed)
    labels = rng.normal(3, 2, rows)
    values = labels + rng.normal(0, 2, rows)
    return (labels.round() if coarse else labels).astype(np.float32), values.round() if coarse else values


@pytest.mark.parametrize("delta", [None, 0.3, 2.0])
def test_loss_equals_the_loop(delta: float | None) -> None:
    logits = torch.randn(6, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([0.5, -1.0, 2.5, 0.0, 0.25, -3.0])
    total, slopes = 0.0, []
    for (value,), label in zip(logits.tolist(), labels.tolist(), strict=True):
        far = value - label
        near = delta is None or abs(far) <= delta
        total += far**2 if near else 2 * delta * abs(far) - delta**2
        slopes.append([(2 * far if near else math.copysign(2 * delta, far)) / 6])
    found = task(delta).loss(logits, labels)
    found.backward()
    assert found.item() == pytest.approx(total / 6, rel=1e-12)
    torch.testing.assert_close(logits.grad, torch.tensor(slopes, dtype=torch.float64), rtol=1e-10, atol=1e-14)


def test_loss_with_a_large_delta_is_the_squared_error() -> None:
    logits, labels = torch.randn(6, 1, generator=torch.Generator().manual_seed(0)), torch.arange(6.0)
    assert task(1e6).loss(logits, labels) == task().loss(logits, labels)


@pytest.mark.parametrize("delta", [None, 1.0])
def test_loss_of_no_row_is_zero_with_zero_gradient(delta: float | None) -> None:
    logits = torch.zeros(0, 1, requires_grad=True)
    value = task(delta).loss(logits, torch.zeros(0))
    value.backward()
    assert value == 0
    assert logits.grad is not None


def test_loss_of_half_precision_is_float32() -> None:
    value = task().loss(torch.tensor([[300.0]], dtype=torch.float16), torch.tensor([-300.0]))
    assert value == 360000
    assert value.dtype == torch.float32


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("rows", [2, 3, 30])
@pytest.mark.parametrize("seed", range(10))
def test_scores_equal_scipy(seed: int, rows: int, coarse: bool) -> None:
    labels, values = outcomes(seed, rows, coarse)
    found = scores(labels, values)
    assert found["mae"] == pytest.approx(mean_absolute_error(labels, values), abs=1e-12)
    if len(set(labels)) > 1 and len(set(values)) > 1:
        assert found["pearson"] == pytest.approx(stats.pearsonr(labels, values).statistic, abs=1e-12)
        assert found["spearman"] == pytest.approx(stats.spearmanr(labels, values).statistic, abs=1e-12)


def test_scores_by_hand() -> None:
    """Labels 1 2 3 4, values 1 4 9 8: deviations -1.5 -.5 .5 1.5 and -4.5 -1.5 3.5 2.5; ranks 1 2 4 3."""
    found = scores(np.array([1.0, 2, 3, 4]), np.array([1.0, 4, 9, 8]))
    assert found["pearson"] == pytest.approx(13 / math.sqrt(5 * 41))
    assert found["spearman"] == pytest.approx(0.8)
    assert found["mae"] == pytest.approx(3.0)


def test_ties_have_the_mean_of_their_ranks() -> None:
    values = np.array([0.5, 0.1, 0.5, 0.9, 0.5])
    assert _metrics.average_ranks(values).tolist() == [3, 1, 3, 5, 3]
    rng = np.random.default_rng(0)
    for size in (1, 2, 50):
        sample = rng.integers(0, 6, size)
        assert _metrics.average_ranks(sample).tolist() == stats.rankdata(sample).tolist()


@pytest.mark.parametrize("constant", [0.1, 0.0, -1e8, 1e-300])
def test_a_constant_side_correlates_with_nothing(constant: float) -> None:
    """The mean of three 0.1 is not 0.1 in floating point."""
    same, other = np.full(3, constant), np.array([1.0, 2.0, 4.0])
    for labels, values in ((same, other), (other, same), (same, same)):
        found = scores(labels, values)
        assert (found["pearson"], found["spearman"]) == (0, 0)


def test_one_row_correlates_with_nothing() -> None:
    assert scores(np.array([2.0]), np.array([3.5])) == {"pearson": 0, "spearman": 0, "mae": 1.5}


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1.0, 1e150])
def test_correlations_ignore_scale_and_shift(scale: float) -> None:
    labels, values = outcomes(5)
    expected, found = scores(labels, values), scores(labels, scale * values)
    assert found["pearson"] == pytest.approx(expected["pearson"], rel=1e-9)
    assert found["spearman"] == expected["spearman"]
    moved = scores(labels, -3 * values + 7)
    assert moved["pearson"] == pytest.approx(-expected["pearson"], rel=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_a_perfect_correlation_is_not_above_one(seed: int) -> None:
    labels, _ = outcomes(seed)
    assert -1 <= scores(labels, -2 * labels.astype(np.float64))["pearson"] <= -1 + 1e-12


def test_the_estimate_and_the_prediction_are_the_value() -> None:
    logits = torch.tensor([[[1.5]], [[-300.0]]])
    assert torch.equal(task().estimate(logits), logits)
    assert task().predict(logits.numpy()).tolist() == [[1.5], [-300.0]]


def test_head_shape() -> None:
    assert task().head(8)(torch.zeros(2, 8)).shape == (2, 1)


def test_labels_are_refused() -> None:
    with pytest.raises(ValueError, match=r"stress: found the labels \['low', 'high'\]; expected none"):
        regress.Task(regress.Config(), "stress", ("low", "high"))


def test_what_cannot_be_scored_is_named() -> None:
    with pytest.raises(ValueError, match="stress: found 0 labels"):
        task().score([], [])
    with pytest.raises(ValueError, match=r"stress: estimates have the shape \(1, 2\), expected \(1, 1\)"):
        task().score([np.float32(1)], [np.zeros(2)])
    with pytest.raises(ValueError, match="1 examples are not finite, the first at position 0"):
        task().score([np.float32(1)], [np.array([np.inf])])


def by_variance(one: np.ndarray, other: np.ndarray) -> float:
    """Constant where the computed variance is 0."""
    a, b = one - one.mean(), other - other.mean()
    size = math.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / size) if size else 0.0


@pytest.mark.parametrize(
    ("test", "argument"),
    [(test_a_constant_side_correlates_with_nothing, 0.1), (test_correlations_ignore_scale_and_shift, 1e-200)],
)
def test_control_constant_by_its_variance(test: Callable, argument: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regress, "correlation", by_variance)
    with pytest.raises(AssertionError):
        test(argument)


def test_control_a_correlation_that_is_not_clipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regress.np, "clip", lambda value, low, high: value)
    with pytest.raises(AssertionError):
        for seed in range(20):
            test_a_perfect_correlation_is_not_above_one(seed)


def test_control_ties_by_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regress, "average_ranks", lambda values: values.argsort().argsort() + 1.0)
    with pytest.raises(AssertionError):
        test_scores_equal_scipy(0, 30, True)


def test_control_softmax_as_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regress.Config, "logits", "classes")
    with pytest.raises(AssertionError):
        test_the_estimate_and_the_prediction_are_the_value()
