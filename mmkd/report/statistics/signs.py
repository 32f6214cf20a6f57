"""Tests of paired differences by their signs: sign flips of the differences themselves, and of their ranks.

Under the null hypothesis each difference is as likely to have the other sign. Fisher, The design of experiments, 1935,
section 21, sums the differences; Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1945, their
ranks. Neither asks for normal differences, but with n pairs no two-sided p is below 2/2^n: five seeds never show
p < 0.05.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.report.statistics.values import check_pairs, rounding

EXACT_PAIRS = 20
"""Up to so many differences other than 0 all sign flips are enumerated, a million."""
DRAWS = 9999


@dataclass(frozen=True)
class SignTest:
    """A two-sided test of n pairs.

    p: 1 where all differences are 0. floor: the smallest p that so many differences other than 0 can give.
    exact: over all sign flips; else over drawn ones.
    """

    n: int
    p: float
    floor: float
    exact: bool


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p that sign flips of so many pairs can give: 2/2^n, and 1 without a pair."""
    return min(1.0, 2.0 ** (1 - pairs))


def sign_flip(
    a: Sequence[float], b: Sequence[float], generator: np.random.Generator | None = None, draws: int = DRAWS
) -> SignTest:
    """Test of the mean of a - b against 0 over the flips of the differences' signs.

    p is the share of flips whose sum is at least as far from 0 as the observed one; of drawn flips (r + 1) / (draws +
    1), the observed one being a flip too (Phipson and Smyth 2010, 1603.05766). generator: draws them, above
    `EXACT_PAIRS` differences other than 0.
    Raises ValueError for no pairs, unequal lengths, a value that is not finite, or no generator where one is needed.
    """
    check_pairs(a, b)
    differences, _ = _without_zeros(a, b)
    count = len(differences)
    # Sums of the same numbers in another order differ by rounding; those must count as equally far from 0.
    farthest = abs(math.fsum(differences)) - len(a) * rounding(a, b)
    if count <= EXACT_PAIRS:
        sums = np.zeros(1)
        for difference in differences:
            sums = np.concatenate([sums - difference, sums + difference])
        return SignTest(len(a), float((np.abs(sums) >= farthest).mean()), smallest_p(count), exact=True)
    if generator is None:
        raise ValueError(
            f"{count} differences other than 0: above {EXACT_PAIRS} their flips are drawn, but no generator was found; "
            "expected numpy.random.default_rng(SEED)"
        )
    sums = (2.0 * generator.integers(0, 2, (draws, count)) - 1) @ differences
    farther = int((np.abs(sums) >= farthest).sum())
    return SignTest(len(a), (farther + 1) / (draws + 1), max(smallest_p(count), 1 / (draws + 1)), exact=False)


def signed_rank(a: Sequence[float], b: Sequence[float]) -> SignTest:
    """Wilcoxon's signed-rank test of a - b, exact for any number of pairs.

    Differences of 0 are left out, as Wilcoxon does. Equal sizes share the mean of their ranks, and p is over the flips
    of those ranks; tables and the `exact` method of scipy know ranks without ties only.
    Raises ValueError for no pairs, unequal lengths, or a value that is not finite.
    """
    check_pairs(a, b)
    differences, tolerance = _without_zeros(a, b)
    ranks = _doubled_ranks(np.abs(differences), tolerance)
    chances = np.ones(1)  # of each sum of the doubled ranks of positive differences, which are whole numbers
    for rank in ranks:
        flipped = np.zeros(len(chances) + rank)
        flipped[: len(chances)] += chances / 2
        flipped[rank:] += chances / 2
        chances = flipped
    total, positive = int(ranks.sum()), int(ranks[differences > 0].sum())
    nearer = min(positive, total - positive)
    p = min(1.0, 2 * float(chances[: nearer + 1].sum()))
    return SignTest(len(a), p, smallest_p(len(ranks)), exact=True)


def _without_zeros(a: Sequence[float], b: Sequence[float]) -> tuple[np.ndarray, float]:
    """Differences a - b that are not 0, and how far apart equal ones may lie."""
    differences, tolerance = np.subtract(a, b, dtype=np.float64), rounding(a, b)
    return differences[np.abs(differences) > tolerance], tolerance


def _doubled_ranks(sizes: np.ndarray, tolerance: float) -> np.ndarray:
    """Twice the rank of each size [N], from 2 for the smallest; sizes that differ by rounding share their mean rank."""
    order = np.argsort(sizes)
    group = np.concatenate([[0], np.cumsum(np.diff(sizes[order]) > tolerance)])[: len(sizes)]
    last = np.cumsum(np.bincount(group.astype(np.int64), minlength=1))
    first = np.concatenate([[0], last[:-1]]) + 1
    ranks = np.empty(len(sizes), np.int64)
    ranks[order] = (first + last)[group.astype(np.int64)]
    return ranks
