"""What each example adds to a metric, so that the metric of any set of examples follows from a sum over them.

Counts [N, C] of the examples, a metric of their sums [..., C]. The same metrics as those of `mmkd.tasks`, which score a
split once; these score thousands of resamples at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mmkd.tasks._spans import spans

Metric = Callable[[np.ndarray], np.ndarray]
"""Sums of counts [..., C] -> the metric [...]."""


def ratio(sums: np.ndarray) -> np.ndarray:
    """Part by whole, [..., 2] to [...]; 0 of nothing: accuracy, mean distance, precision, recall, F1 over entities."""
    part, whole = sums[..., 0], sums[..., 1]
    return np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0)


def macro_f1(sums: np.ndarray) -> np.ndarray:
    """Mean of F1 over the classes or labels that occur, [..., 2K] to [...]; 0 where none does.

    Of each class: twice the right ones, K of them; then how often it is among the labels and the predictions.
    """
    right, occurrences = np.split(sums, 2, axis=-1)
    occurs = occurrences > 0
    f1 = np.where(occurs, right / np.where(occurs, occurrences, 1), 0.0)
    return f1.sum(-1) / np.maximum(occurs.sum(-1), 1)


def quadratic_kappa(sums: np.ndarray) -> np.ndarray:
    """Quadratic-weighted kappa, [..., 1 + 2K] to [...]; 0 where labels and predictions are all one and the same class.

    The sum of squared distances; then how often each class is among the labels, and among the predictions.
    """
    observed = sums[..., 0]
    gold, predicted = np.split(sums[..., 1:], 2, axis=-1)
    grid = np.arange(gold.shape[-1])
    distance = (grid[:, None] - grid[None, :]) ** 2
    total = np.maximum(gold.sum(-1), 1)
    chance = np.einsum("...i,ij,...j->...", gold, distance.astype(np.float64), predicted) / total
    return np.where(chance > 0, 1 - observed / np.where(chance > 0, chance, 1), 0.0)


def right_counts(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[N, 2] for `ratio`, the accuracy: 1 where the prediction is right, and 1. labels, predicted: [N]."""
    return np.stack([labels == predicted, np.ones(len(labels), bool)], axis=1).astype(np.float64)


def distance_counts(labels: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[N, 2] for `ratio`, the mean absolute error: the distance, and 1. labels, predicted: [N], classes or values."""
    return np.stack([np.abs(labels - predicted), np.ones(len(labels))], axis=1).astype(np.float64)


def class_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """[N, 2K] for `macro_f1`. labels, predicted: [N]."""
    gold, found = np.eye(classes)[labels], np.eye(classes)[predicted]
    return label_counts(gold, found)


def label_counts(holds: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[N, 2K] for `macro_f1`. holds, predicted: 0 or 1, [N, K]."""
    return np.concatenate([2 * (holds * predicted), holds + predicted], axis=1).astype(np.float64)


def micro_counts(holds: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """[N, 2] for `ratio`, the micro F1: that of all K labels together. holds, predicted: 0 or 1, [N, K]."""
    return np.stack([2 * (holds * predicted).sum(1), (holds + predicted).sum(1)], axis=1).astype(np.float64)


def kappa_counts(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """[N, 1 + 2K] for `quadratic_kappa`. labels, predicted: [N]."""
    squares = (labels - predicted)[:, None] ** 2
    return np.concatenate([squares, np.eye(classes)[labels], np.eye(classes)[predicted]], axis=1).astype(np.float64)


def entity_counts(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> np.ndarray:
    """[N, 3], how many entities of each example are right, gold, predicted; gold, predicted: BIO labels of its words.

    F1 is the `ratio` of twice the first to the sum of the others, recall and precision that of the first to each.
    """
    pairs = [(set(spans(one)), set(spans(other))) for one, other in zip(gold, predicted, strict=True)]
    counts = [(len(one & other), len(one), len(other)) for one, other in pairs]
    return np.array(counts, np.float64).reshape(-1, 3)
