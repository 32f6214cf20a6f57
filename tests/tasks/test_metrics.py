"""Class metrics against scikit-learn and naive loops, over random labels and probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, mean_absolute_error, roc_auc_score

from mmkd.tasks import _metrics as metrics

CLASSES = 4
pairs = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=40)


def outcomes(seed: int, rows: int, coarse: bool) -> tuple[np.ndarray, np.ndarray]:
    """Every class among the labels; probabilities with many ties when coarse."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(CLASSES), rng.integers(0, CLASSES, rows)])
    weights = rng.integers(1, 4, (len(labels), CLASSES)) if coarse else rng.random((len(labels), CLASSES)) + 0.01
    return labels, weights / weights.sum(1, keepdims=True)


@settings(max_examples=60, deadline=None)
@given(pairs)
def test_counts_give_what_scikit_learn_gives(rows: list[tuple[int, int]]) -> None:
    gold, predicted = np.array(rows).T
    counts = metrics.confusion(gold, predicted, CLASSES)
    assert metrics.accuracy(counts).value == pytest.approx(accuracy_score(gold, predicted), abs=1e-12)
    assert metrics.macro_f1(counts).value == pytest.approx(f1_score(gold, predicted, average="macro"), abs=1e-12)
    assert metrics.mean_absolute_error(counts).value == pytest.approx(mean_absolute_error(gold, predicted), abs=1e-12)
    assert metrics.mean_absolute_error(counts).direction == "minimize"
    if len({*gold.tolist(), *predicted.tolist()}) > 1:
        expected = cohen_kappa_score(gold, predicted, weights="quadratic", labels=range(CLASSES))
        assert metrics.quadratic_kappa(counts).value == pytest.approx(expected, abs=1e-12)
    assert metrics.macro_f1(counts).n == len(rows)


def test_kappa_where_one_class_is_all_there_is() -> None:
    """0/0 is defined as 0, the value of a constant prediction on labels that vary."""
    alone = metrics.confusion(np.array([2, 2, 2]), np.array([2, 2, 2]), CLASSES)
    constant = metrics.confusion(np.array([0, 1, 3]), np.array([2, 2, 2]), CLASSES)
    assert metrics.quadratic_kappa(alone).value == 0
    assert metrics.quadratic_kappa(constant).value == 0


def test_kappa_by_hand() -> None:
    """Gold 0 0 1 2, predicted 0 1 1 2: observed 1/4; expected ((0+1+1+4)*2 + (1+0+0+1) + (4+1+1+0)) / 16 = 20/16."""
    counts = metrics.confusion(np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2]), 3)
    assert metrics.quadratic_kappa(counts).value == pytest.approx(1 - 0.25 / (20 / 16), abs=1e-15)


@pytest.mark.parametrize("coarse", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_auroc_equals_scikit_learn(seed: int, coarse: bool) -> None:
    labels, probabilities = outcomes(seed, 30, coarse)
    found = metrics.auroc(labels, probabilities)
    expected = roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    assert found is not None
    assert found.value == pytest.approx(expected, abs=1e-12)


def test_auroc_needs_every_class() -> None:
    probabilities = np.full((3, 3), 1 / 3)
    assert metrics.auroc(np.array([0, 1, 1]), probabilities) is None
    found = metrics.auroc(np.array([0, 1, 2]), probabilities)
    assert found is not None
    assert found.value == 0.5


@pytest.mark.parametrize("seed", range(10))
def test_calibration_error_equals_a_loop_over_bins(seed: int) -> None:
    """Guo et al., eq. 3: the sum over bins of |B| / n times |accuracy - confidence|, bins ((m-1)/M, m/M]."""
    labels, probabilities = outcomes(seed, 50, coarse=False)
    total = 0.0
    for index in range(15):
        inside = [place for place, row in enumerate(probabilities) if index / 15 < max(row) <= (index + 1) / 15]
        if inside:
            right = sum(int(np.argmax(probabilities[place]) == labels[place]) for place in inside) / len(inside)
            sure = sum(max(probabilities[place]) for place in inside) / len(inside)
            total += len(inside) / len(labels) * abs(right - sure)
    found = metrics.calibration_error(labels, probabilities)
    assert found.value == pytest.approx(total, abs=1e-12)
    assert found.direction == "minimize"


def test_calibration_bins_are_closed_on_the_right() -> None:
    """0.4 = 6/15 stands with 0.38, one of the two right: |1/2 - 0.39|; apart it would be (0.6 + 0.38) / 2."""
    probabilities = np.array([[0.4, 0.3, 0.3], [0.38, 0.31, 0.31]])
    assert metrics.calibration_error(np.array([0, 1]), probabilities).value == pytest.approx(0.11)


def test_the_two_highest_bins_are_apart() -> None:
    """0.92 wrong, 0.95 right, bins split at 14/15: (0.92 + 0.05) / 2; in one bin it would be |1/2 - 0.935|."""
    probabilities = np.array([[0.92, 0.08], [0.95, 0.05]])
    assert metrics.calibration_error(np.array([1, 0]), probabilities).value == pytest.approx(0.485)


def test_calibration_of_certainty() -> None:
    """Certain and right: 0. Certain and wrong: 1. Confidence 1 falls in the last bin, not past it."""
    sure = np.eye(3)
    assert metrics.calibration_error(np.array([0, 1, 2]), sure).value == 0
    assert metrics.calibration_error(np.array([1, 2, 0]), sure).value == 1


def test_gather_names_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="risk: found 0 labels"):
        metrics.gather("risk", [], [], 3)
    with pytest.raises(ValueError, match=r"the shape \(2, 3\), expected \(2, 4\)"):
        metrics.gather("risk", [np.int64(0), np.int64(1)], [np.ones(3), np.ones(3)], 4)
    with pytest.raises(ValueError, match="1 examples are not finite, the first at position 1"):
        metrics.gather("risk", [np.int64(0), np.int64(1)], [np.ones(3), np.full(3, np.nan)], 3)
