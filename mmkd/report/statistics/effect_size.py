"""How large a difference is beside the spread over seeds, and how often one network is better than another.

Cohen, Statistical power analysis for the behavioral sciences, 1988 (d_z); Hedges, Distribution theory for Glass's
estimator of effect size, Journal of Educational Statistics 1981 (g); Cliff, Dominance statistics, Psychological
Bulletin 1993 (delta); Agarwal et al. 2021, 2108.13264 (probability of improvement, of one task here).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np

from mmkd.report.statistics.over_seeds import PairedTest
from mmkd.report.statistics.values import check_values, rounding


def cohens_d_z(test: PairedTest) -> float | None:
    """Mean of the paired differences over their standard deviation (ddof 1); None where the test gave no t."""
    return None if test.t is None else test.t / math.sqrt(test.n)


def hedges_g(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Difference of means over the pooled standard deviation, without the bias of few values; pairs play no part.

    The bias is taken out by J(m) = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)), m the degrees of freedom. None where the
    values of each side are equal: their spread is not known.
    Raises ValueError for fewer than 2 values on a side, or one that is not finite.
    """
    check_values(a, least=2)
    check_values(b, least=2)
    if max(max(a) - min(a), max(b) - min(b)) <= rounding(a, b):
        return None
    free = len(a) + len(b) - 2
    squares = (len(a) - 1) * statistics.variance(a) + (len(b) - 1) * statistics.variance(b)
    unbiased = math.exp(math.lgamma(free / 2) - math.lgamma((free - 1) / 2)) / math.sqrt(free / 2)
    return unbiased * (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(squares / free)


def probability_of_improvement(a: Sequence[float], b: Sequence[float]) -> float:
    """How often a value of `a` is above one of `b`, over all pairs of them; equal ones count half.

    Raises ValueError for no values on a side, or one that is not finite.
    """
    return (cliffs_delta(a, b) + 1) / 2


def cliffs_delta(a: Sequence[float], b: Sequence[float]) -> float:
    """How much more often a value of `a` is above than below one of `b`, over all pairs of them: -1 to 1.

    Raises ValueError for no values on a side, or one that is not finite.
    """
    check_values(a)
    check_values(b)
    return float(np.sign(np.subtract.outer(a, b)).mean())
