"""The task over labels that may hold together, against loops and scikit-learn."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score

from mmkd.record import Score
from mmkd.tasks import multilabel

LABELS = ("smear", "slogan", "doubt", "flag")


def task(labels: tuple[str, ...] = LABELS, **config: float) -> multilabel.Task:
    return multilabel.Task(multilabel.Config(**config), "topics", labels)


def outcomes(seed: int, rows: int = 30, coarse: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Labels as a batch has them, float32 of 0 and 1, the rarer the later; probabilities with many ties when coarse."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((rows, 4)) < [0.6, 0.4, 0.2, 0.1]).astype(np.float32)
    return labels, rng.integers(0, 5, (rows, 4)) / 4 if coarse else rng.random((rows, 4))


def scores(labels: np.ndarray, probabilities: np.ndarray, **config: float) -> dict[str, float]:
    found = task(**config).score(list(labels), list(probabilities))
    assert all(score.n == len(labels) and score.direction == "maximize" for score in found.values())
    return {name: score.value for name, score in found.items()}


def test_loss_equals_the_loop() -> None:
    logits = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 0, 1, 1]]).float()
    total, slopes = 0.0, []
    for row, truth in zip(logits.tolist(), labels.tolist(), strict=True):
        chances = [1 / (1 + math.exp(-value)) for value in row]
        total -= sum(math.log(p if holds else 1 - p) for p, holds in zip(chances, truth, strict=True))
        slopes.append([(p - holds) / 20 for p, holds in zip(chances, truth, strict=True)])
    value = task().loss(logits, labels)
    value.backward()
    assert value.item() == pytest.approx(total / 20, rel=1e-12)
    torch.testing.assert_close(logits.grad, torch.tensor(slopes, dtype=torch.float64), rtol=1e-10, atol=1e-14)


def test_loss_of_no_row_is_zero_with_zero_gradient() -> None:
    logits = torch.zeros(0, 4, requires_grad=True)
    value = task().loss(logits, torch.zeros(0, 4))
    value.backward()
    assert value == 0
    assert logits.grad is not None


def test_loss_of_half_precision_is_float32() -> None:
    logits = torch.tensor([[30000.0, -30000.0, 30000.0, -30000.0]], dtype=torch.float16)
    value = task().loss(logits, torch.tensor([[0.0, 1.0, 1.0, 0.0]]))
    assert value == 15000
    assert value.dtype == torch.float32


def test_estimates_are_sigmoids() -> None:
    found = task().estimate(torch.tensor([[0.0, math.log(3), -math.log(3), 100.0]]))
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.75, 0.25, 1.0]]))


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("threshold", [0.5, 0.25, 0.9])
def test_scores_equal_scikit_learn(seed: int, coarse: bool, threshold: float) -> None:
    labels, probabilities = outcomes(seed, coarse=coarse)
    holds, predicted = labels.astype(int), (probabilities > threshold).astype(int)
    found = scores(labels, probabilities, threshold=threshold)
    assert list(found) == ["micro_f1", "macro_f1", "map"]
    assert found["micro_f1"] == pytest.approx(f1_score(holds, predicted, average="micro"), abs=1e-12)
    macro = f1_score(holds, predicted, average="macro", zero_division=np.nan)
    assert found["macro_f1"] == pytest.approx(macro, abs=1e-12)
    present = holds.any(0)
    expected = average_precision_score(holds[:, present], probabilities[:, present], average="macro")
    assert found["map"] == pytest.approx(expected, abs=1e-12)


def test_scores_by_hand() -> None:
    """smear: found 1 of 2, and once wrongly; slogan: found; doubt: never there, never said; flag: said, never there."""
    labels = np.array([[1, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], dtype=np.float32)
    probabilities = np.array([[0.9, 0.8, 0.1, 0.2], [0.3, 0.4, 0.2, 0.1], [0.6, 0.2, 0.3, 0.7]])
    found = scores(labels, probabilities)
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 4))
    assert found["macro_f1"] == pytest.approx((2 * 1 / 4 + 1 + 0) / 3)  # doubt is no label of this split
    assert found["map"] == pytest.approx(((1 + 2 / 3) / 2 + 1) / 2)  # smear ranks first and third; flag has no positive


@pytest.mark.parametrize("always", [0.0, 0.5, 1.0])
def test_a_constant_prediction(always: float) -> None:
    """All rows come together: the precision of each positive is the label's share."""
    labels, _ = outcomes(3)
    found = scores(labels, np.full_like(labels, always))
    share = labels.mean(0)
    assert found["map"] == pytest.approx(share[share > 0].mean())
    expected = 2 * labels.sum() / (labels.sum() + labels.size) if always > 0.5 else 0.0
    assert found["micro_f1"] == pytest.approx(expected)


def test_labels_that_never_occur() -> None:
    """No positive: F1 of nothing to nothing is 0, and there is no average precision."""
    nothing = np.zeros((3, 4), dtype=np.float32)
    assert scores(nothing, np.full((3, 4), 0.1)) == {"micro_f1": 0, "macro_f1": 0}
    assert scores(nothing, np.full((3, 4), 0.9)) == {"micro_f1": 0, "macro_f1": 0}


def test_one_row_and_all_right() -> None:
    labels = np.array([[1, 0, 0, 1]], dtype=np.float32)
    assert scores(labels, labels) == {"micro_f1": 1, "macro_f1": 1, "map": 1}


@pytest.mark.parametrize("seed", range(5))
def test_order_of_rows_changes_nothing(seed: int) -> None:
    labels, probabilities = outcomes(seed, coarse=True)
    order = np.random.default_rng(seed).permutation(len(labels))
    assert scores(labels[order], probabilities[order]) == pytest.approx(scores(labels, probabilities), abs=1e-12)


def test_predict_is_above_the_threshold_over_any_leading_shape() -> None:
    probabilities = np.array([[[0.5, 0.51, 0.0, 1.0]], [[0.2, 0.9, 0.7, 0.69]]])
    assert task().predict(probabilities).tolist() == [[[0, 1, 0, 1]], [[0, 1, 1, 1]]]
    assert task(threshold=0.7).predict(probabilities).tolist() == [[[0, 0, 0, 1]], [[0, 1, 0, 0]]]


def test_head_shape() -> None:
    assert task().head(8)(torch.zeros(2, 8)).shape == (2, 4)


def test_one_label_will_do_and_none_will_not() -> None:
    assert task(("smear",)).head(8)(torch.zeros(2, 8)).shape == (2, 1)
    with pytest.raises(ValueError, match="topics: found no labels"):
        task(())


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_decides_nothing_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        multilabel.Config(threshold=threshold)


def test_what_cannot_be_scored_is_named() -> None:
    row = np.full(4, 0.5)
    with pytest.raises(ValueError, match="topics: found 0 labels"):
        task().score([], [])
    with pytest.raises(ValueError, match=r"topics: labels have the shape \(1, 3\), expected \(1, 4\)"):
        task().score([np.zeros(3)], [row])
    with pytest.raises(ValueError, match=r"topics: estimates have the shape \(1, 3\), expected \(1, 4\)"):
        task().score([np.zeros(4)], [np.zeros(3)])
    with pytest.raises(ValueError, match="1 examples are not finite, the first at position 1"):
        task().score([np.zeros(4)] * 2, [row, np.array([0.1, np.nan, 0.2, 0.3])])


def compare() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        test_scores_equal_scikit_learn(1, True, 0.25)
        test_labels_that_never_occur()


def without_ties(holds: np.ndarray, scores: np.ndarray) -> float:
    order = np.argsort(-scores, kind="stable")
    ranks = np.flatnonzero(holds[order]) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).mean())


def over_all_labels(holds: np.ndarray, predicted: np.ndarray) -> dict[str, Score]:
    found = multilabel_f1(holds, predicted)
    occurs = (holds | predicted).any(0)
    macro = found["macro_f1"].value * occurs.mean() + (1 - occurs.mean())
    return {**found, "macro_f1": found["macro_f1"].model_copy(update={"value": float(macro)})}


multilabel_f1 = multilabel.f1_scores


@pytest.mark.parametrize(
    ("name", "broken"),
    [("average_precision", without_ties), ("f1_scores", over_all_labels)],
    ids=["ties broken by order", "labels that never occur count as found"],
)
def test_control_metrics_that_are_nearly_right(name: str, broken: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    compare()
    monkeypatch.setattr(multilabel, name, broken)
    with pytest.raises(AssertionError):
        compare()


def test_control_softmax_as_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multilabel.Config, "logits", "classes")
    with pytest.raises(AssertionError):
        test_estimates_are_sigmoids()
