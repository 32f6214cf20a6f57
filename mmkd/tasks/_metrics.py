"""Metrics of classes, and what all metrics share, from numpy arrays alone: scikit-learn takes seconds to import.

Macro F1, quadratic kappa and AUROC agree with scikit-learn's to rounding where that defines them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmkd.record import Score


def gather(
    task: str,
    labels: Sequence[np.ndarray],
    estimates: Sequence[np.ndarray],
    width: int,
    label_shape: tuple[int, ...] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N, *label_shape], as they are, and estimates [N, width], in float64, of an example-level task.

    Raises ValueError when there is no example, when shapes do not fit, or when an estimate is not finite.
    """
    if not len(labels) or len(labels) != len(estimates):
        raise ValueError(
            f"{task}: found {len(labels)} labels and {len(estimates)} rows of estimates; expected as many of "
            "one as of the other, and at least one: does this split have labels of the task?"
        )
    gold, estimated = np.asarray(labels), np.asarray(estimates, dtype=np.float64)
    for name, found, shape in (("labels", gold, label_shape), ("estimates", estimated, (width,))):
        if found.shape != (len(gold), *shape):
            raise ValueError(f"{task}: {name} have the shape {found.shape}, expected {(len(gold), *shape)}")
    if bad := np.flatnonzero(~np.isfinite(estimated).all(1)).tolist():
        raise ValueError(f"{task}: estimates of {len(bad)} examples are not finite, the first at position {bad[0]}")
    return gold, estimated


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts [K, K]: gold class by predicted class."""
    return np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)


def accuracy(counts: np.ndarray) -> Score:
    """Fraction of predictions that are right."""
    return Score(value=float(np.trace(counts) / counts.sum()), n=int(counts.sum()))


def macro_f1(counts: np.ndarray) -> Score:
    """Unweighted mean of the classes' F1, over the classes that occur among the labels or the predictions."""
    occurrences = counts.sum(0) + counts.sum(1)
    occurs = occurrences > 0
    f1 = 2 * np.diag(counts)[occurs] / occurrences[occurs]
    return Score(value=float(f1.mean()), n=int(counts.sum()))


def quadratic_kappa(counts: np.ndarray) -> Score:
    """Agreement beyond chance, disagreement counted by the square of its distance (Cohen 1968, Psych. Bull. 70).

    1 - observed / expected squared distance, the latter for independent gold and predicted classes. Where labels and
    predictions are all one and the same class, chance alone explains the agreement and the ratio is 0/0: we define 0,
    which is also the value of any constant prediction on labels that vary.
    """
    grid = np.arange(len(counts))
    distance = (grid[:, None] - grid[None, :]) ** 2
    expected = np.outer(counts.sum(1), counts.sum(0)) / counts.sum()
    chance = float((distance * expected).sum())
    value = 1 - float((distance * counts).sum()) / chance if chance > 0 else 0.0
    return Score(value=value, n=int(counts.sum()))


def mean_absolute_error(counts: np.ndarray) -> Score:
    """Mean distance between gold and predicted class, in classes."""
    grid = np.arange(len(counts))
    distance = np.abs(grid[:, None] - grid[None, :])
    return Score(value=float((distance * counts).sum() / counts.sum()), n=int(counts.sum()), direction="minimize")


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Score:
    """Expected calibration error: mean over examples of |accuracy - confidence| of their bin (Guo 1706.04599, eq. 3).

    labels [N], probabilities [N, K]. `bins` equal bins of the confidence, each closed on the right.
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    place = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(place, weights=right - confidence, minlength=bins)
    return Score(value=float(np.abs(gap).sum() / len(labels)), n=len(labels), direction="minimize")


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> Score | None:
    """Mean over classes of the one-vs-rest area under the ROC curve; None when a class has no label, or all of them.

    The area is the chance that a row of the class has the higher probability, ties counting half (Hanley and McNeil
    1982, Radiology 143).
    """
    present = np.bincount(labels, minlength=probabilities.shape[1])
    if (present == 0).any() or (present == len(labels)).any():
        return None
    areas = [_area(labels == index, probabilities[:, index]) for index in range(probabilities.shape[1])]
    return Score(value=float(np.mean(areas)), n=len(labels))


def _area(positive: np.ndarray, scores: np.ndarray) -> float:
    count = int(positive.sum())
    above = average_ranks(scores)[positive].sum() - count * (count + 1) / 2
    return float(above / (count * (len(scores) - count)))


def average_ranks(values: np.ndarray) -> np.ndarray:
    """Rank of each value [N], from 1 for the lowest; equal values have the mean of their ranks."""
    _, place, ties = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(ties) - (ties - 1) / 2)[place]
