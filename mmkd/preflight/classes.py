"""Whether a teacher's classes stand in the order of the task's: measured, since no file of numbers can say it.

A teacher that is merely weak is never suspected. It is when, of the rows with a label, it names hardly more than chance
would (balanced: each class that is common enough counts alike), and under other names for its classes far more: more
than half of the way from chance to always, by three standard errors. What knows so much about the labels is not weak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int
from scipy.optimize import linear_sum_assignment

COMMON = 8
"""Labelled rows of a class, for it to count."""
ERRORS = 3.0
"""Standard errors. Chance itself is granted two."""


@dataclass(frozen=True)
class Renamed:
    """Balanced agreement as the classes stand, by chance, and under the best other names. names: class -> that name."""

    as_is: float
    chance: float
    best: float
    names: tuple[int, ...]


def suspected(labels: Int[np.ndarray, " R"], said: Int[np.ndarray, " R"], classes: int) -> Renamed | None:
    """The renaming of a teacher's classes under which it knows the labels, and without which it does not; or None.

    labels, said: classes from 0, of the same rows.
    """
    counts = np.zeros((classes, classes))
    np.add.at(counts, (said, labels), 1)
    rows = counts.sum(0)
    common = rows >= COMMON
    if common.sum() < 2:
        return None
    recalls = counts[:, common] / rows[common]
    full = np.zeros((classes, classes))
    full[:, common] = recalls
    _, names = linear_sum_assignment(-full)
    best, chance = _mean(full, rows, common, names), 1 / float(common.sum())
    as_is = _mean(full, rows, common, np.arange(classes))
    near_chance = as_is[0] <= chance + 2 * as_is[1]
    knows = best[0] - ERRORS * best[1] > (1 + chance) / 2
    if not (near_chance and knows):
        return None
    return Renamed(as_is[0], chance, best[0], tuple(int(name) for name in names))


def _mean(recalls: np.ndarray, rows: np.ndarray, common: np.ndarray, names: np.ndarray) -> tuple[float, float]:
    """Mean recall over the common classes when class k is called names[k], and its standard error."""
    of_label = np.empty(len(names), np.int64)
    of_label[names] = np.arange(len(names))
    found = [(recalls[of_label[label], label], rows[label]) for label in np.flatnonzero(common)]
    # One row more of each sort, so that a class that is always right has an error too.
    shares = [((recall * n + 1) / (n + 2), n) for recall, n in found]
    variance = sum(share * (1 - share) / n for share, n in shares)
    return float(np.mean([recall for recall, _ in found])), math.sqrt(variance) / len(found)
