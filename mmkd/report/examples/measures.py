"""The metrics of each kind of task that follow from what each example adds, and the test that fits each.

Accuracy over examples has McNemar's test, which asks of each example alone whether it is right. All others are ratios
of sums, so that their test swaps the two networks' predictions of whole examples; words of one example go together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmkd.report.examples.predictions import Form, Predictions
from mmkd.report.statistics.example_counts import (
    Metric,
    class_counts,
    distance_counts,
    entity_counts,
    kappa_counts,
    label_counts,
    macro_f1,
    micro_counts,
    quadratic_kappa,
    ratio,
    right_counts,
)

Counts = Callable[[Predictions], np.ndarray]
"""Predictions -> what each example adds, [N, C]."""


@dataclass(frozen=True)
class Measure:
    """counts, metric: of them. has_mcnemar: whether each example is right or wrong. needs_names: of the classes."""

    counts: Counts
    metric: Metric
    has_mcnemar: bool = False
    needs_names: bool = False


def _both(found: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N] and predictions [N], where an example has one of each."""
    labels, predicted = (np.array(each)[:, 0] for each in (found.labels, found.predicted))
    return labels, predicted


def _holds(found: Predictions) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions as 0 and 1, [N, K]."""
    rows = (len(found.ids), found.width)
    holds, predicted = np.zeros(rows), np.zeros(rows)
    for array, values in ((holds, found.labels), (predicted, found.predicted)):
        for place, indices in enumerate(values):
            array[place, [int(index) for index in indices]] = 1
    return holds, predicted


def _words(found: Predictions) -> np.ndarray:
    """Of each example its words that are right, and its words."""
    pairs = zip(found.labels, found.predicted, strict=True)
    return np.array([(sum(x == y for x, y in zip(a, b, strict=True)), len(a)) for a, b in pairs], np.float64)


def _entities(found: Predictions) -> np.ndarray:
    labels, predicted = (
        [[found.names[int(index)] for index in row] for row in rows] for rows in (found.labels, found.predicted)
    )
    return entity_counts(labels, predicted)


CLASSES = {
    "accuracy": Measure(lambda found: right_counts(*_both(found)), ratio, has_mcnemar=True),
    "macro_f1": Measure(lambda found: class_counts(*_both(found), found.width), macro_f1),
}
MEASURES: dict[str, tuple[Form, dict[str, Measure]]] = {
    "classify": ("class", CLASSES),
    "ordinal": (
        "class",
        {
            **CLASSES,
            "qwk": Measure(lambda found: kappa_counts(*_both(found), found.width), quadratic_kappa),
            "mae": Measure(lambda found: distance_counts(*_both(found)), ratio),
        },
    ),
    "multilabel": (
        "labels",
        {
            "micro_f1": Measure(lambda found: micro_counts(*_holds(found)), ratio),
            "macro_f1": Measure(lambda found: label_counts(*_holds(found)), macro_f1),
        },
    ),
    "regress": ("value", {"mae": Measure(lambda found: distance_counts(*_both(found)), ratio)}),
    "tag": (
        "words",
        {
            "entity_f1": Measure(lambda found: _entities(found) @ [[2, 0], [0, 1], [0, 1]], ratio, needs_names=True),
            "precision": Measure(lambda found: _entities(found)[:, [0, 2]], ratio, needs_names=True),
            "recall": Measure(lambda found: _entities(found)[:, [0, 1]], ratio, needs_names=True),
            "accuracy": Measure(_words, ratio),
        },
    ),
}
"""Kind of task -> what its predictions look like, and its metrics."""
