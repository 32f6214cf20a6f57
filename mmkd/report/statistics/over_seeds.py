"""Statistics over seeds: mean, sample standard deviation, t-interval, paired t-test, Holm's correction.

Student, The probable error of a mean, Biometrika 1908; Holm, A simple sequentially rejective multiple test procedure,
Scandinavian Journal of Statistics 1979. Means and deviations are summed exactly (the standard library's `statistics`),
so that they do not depend on order or machine; quantiles and p values come from scipy.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from mmkd.report.statistics.values import check_pairs, check_values, rounding

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Values of one quantity over seeds, in its own unit.

    std: sample standard deviation (ddof 1); low, high: 95% t-interval of the mean. All None for a single value.
    """

    n: int
    mean: float
    median: float
    std: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class PairedTest:
    """Paired t-test of `a` against `b`, in their own unit.

    difference: mean of a - b over the n pairs; low, high: its 95% t-interval; p: two-sided.
    low, high, t and p are None where all differences are equal: their spread is not known, so nothing can be tested.
    """

    n: int
    difference: float
    low: float | None
    high: float | None
    t: float | None
    p: float | None


def summary(values: Sequence[float]) -> Summary:
    """Mean, spread and interval of values.

    Raises ValueError for no values, or one that is not finite.
    """
    check_values(values)
    n, mean, median = len(values), statistics.fmean(values), statistics.median(values)
    if n == 1:
        return Summary(n=1, mean=mean, median=median, std=None, low=None, high=None)
    std = statistics.stdev(values)
    margin = _margin(std, n)
    return Summary(n=n, mean=mean, median=median, std=std, low=mean - margin, high=mean + margin)


def paired_t(a: Sequence[float], b: Sequence[float]) -> PairedTest | None:
    """Paired t-test of `a` against `b`, whose items belong together; None for fewer than 2 pairs.

    Raises ValueError for unequal lengths, or a value that is not finite.
    """
    check_pairs(a, b, least=0)
    n = len(a)
    if n < 2:
        return None
    differences = [left - right for left, right in zip(a, b, strict=True)]
    mean = statistics.fmean(differences)
    # A t computed from a spread that is rounding alone would be huge and mean nothing.
    if max(differences) - min(differences) <= rounding(a, b):
        return PairedTest(n=n, difference=mean, low=None, high=None, t=None, p=None)
    from scipy.special import stdtr

    std = statistics.stdev(differences)
    t = mean / (std / math.sqrt(n))
    margin = _margin(std, n)
    p = 2 * float(stdtr(n - 1, -abs(t)))
    return PairedTest(n=n, difference=mean, low=mean - margin, high=mean + margin, t=t, p=p)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p values, in the order given.

    Raises ValueError for a p value outside 0..1.
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"p value: found {p}, expected 0 to 1")
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def _margin(std: float, n: int) -> float:
    """Half the width of the t-interval of a mean."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / math.sqrt(n)
