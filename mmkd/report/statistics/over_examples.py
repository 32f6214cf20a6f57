"""Two networks on the same examples: does the difference of a metric depend on which examples those were?

Paired bootstrap: Efron and Tibshirani, An introduction to the bootstrap, 1993. Approximate randomisation: Noreen,
Computer-intensive methods for testing hypotheses, 1989; Yeh, More accurate tests for the statistical significance of
result differences, COLING 2000 (cs/0008005). McNemar, Psychometrika 1947; mid-p: Fagerland, Lydersen and Laake, BMC
Medical Research Methodology 2013.

Examples with equal counts of both networks are of one kind, and only how many of each kind there are counts. So a
resample of N examples is a multinomial draw over the kinds, and the number of examples of a kind that are swapped is
binomial: the same distributions as example by example, at a fraction of the cost.

All of it is about the examples alone. The two networks are taken as they are; another seed is another question.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmkd.report.statistics.example_counts import Metric
from mmkd.report.statistics.over_seeds import CONFIDENCE

RESAMPLES = 2000
SHUFFLES = 9999
NUMBERS_AT_ONCE = 4_000_000
"""How many random numbers are held at a time; the draws are the same for any."""


@dataclass(frozen=True)
class Kinds:
    """Examples by kind. number [U]: of examples of each of U kinds; a, b [U, C]: the counts of one example of it."""

    number: np.ndarray
    a: np.ndarray
    b: np.ndarray


@dataclass(frozen=True)
class McNemar:
    """McNemar's test. only_a, only_b: examples that one network alone has right. p: exact; mid_p: less conservative.

    Both are two-sided, and 1 where no example is right for one network alone.
    """

    only_a: int
    only_b: int
    p: float
    mid_p: float


def kinds(a: np.ndarray, b: np.ndarray) -> Kinds:
    """The kinds of examples with counts [N, C] of two networks.

    Raises ValueError without an example, for shapes that differ, or a count that is not finite.
    """
    if a.shape != b.shape or a.ndim != 2 or not len(a):
        raise ValueError(f"counts: found the shapes {a.shape} and {b.shape}, expected [N, C] of both, N at least 1")
    both = np.concatenate([a, b], axis=1)
    if not np.isfinite(both).all():
        raise ValueError("counts: found one that is not finite, expected finite numbers")
    rows, number = np.unique(both, axis=0, return_counts=True)
    return Kinds(number, rows[:, : a.shape[1]], rows[:, a.shape[1] :])


def difference(examples: Kinds, metric: Metric) -> float:
    """The metric of `a` minus that of `b`, over all examples."""
    return float(metric(examples.number @ examples.a) - metric(examples.number @ examples.b))


def bootstrap_interval(
    examples: Kinds, metric: Metric, generator: np.random.Generator, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """95% percentile interval of the difference, over resamples of the examples with both networks' predictions.

    Raises ValueError for fewer than 2 examples, of which there is but one resample.
    """
    total = int(examples.number.sum())
    if total < 2:
        raise ValueError(f"examples: found {total}, expected at least 2")
    shares = examples.number / total
    drawn = [
        metric(numbers @ examples.a) - metric(numbers @ examples.b)
        for size in _portions(resamples, len(shares))
        for numbers in [generator.multinomial(total, shares, size)]
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(drawn), (tail, 1 - tail))
    return float(low), float(high)


def randomisation(examples: Kinds, metric: Metric, generator: np.random.Generator, shuffles: int = SHUFFLES) -> float:
    """Two-sided p of the difference, over swaps of the networks' predictions of each example with probability 1/2.

    (r + 1) / (shuffles + 1), r the number of shuffles with a difference at least as far from 0; never 0, since the
    observed assignment is one of those that are possible.
    """
    # A metric summed in another order differs by rounding; such a shuffle is as far from 0 as what was observed.
    farthest = abs(difference(examples, metric)) * (1 - 1e-12) - 1e-15
    differ = (examples.a != examples.b).any(1)
    number, change = examples.number[differ], (examples.b - examples.a)[differ]
    a, b = examples.number @ examples.a, examples.number @ examples.b
    farther = 0
    for size in _portions(shuffles, max(len(number), 1)):
        moved = generator.binomial(number, 0.5, (size, len(number))) @ change
        farther += int((np.abs(metric(a + moved) - metric(b - moved)) >= farthest).sum())
    return (farther + 1) / (shuffles + 1)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> McNemar:
    """McNemar's test of two networks' accuracies, exact and mid-p; right_a, right_b: bool [N], in the same order.

    Raises ValueError for unequal lengths.
    """
    if right_a.shape != right_b.shape:
        raise ValueError(f"paired examples: found {len(right_a)} and {len(right_b)}, expected as many of each")
    from scipy.special import bdtr

    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    fewer, total = min(only_a, only_b), only_a + only_b
    if not total:
        return McNemar(0, 0, 1.0, 1.0)
    at_most = float(bdtr(fewer, total, 0.5))
    below = float(bdtr(fewer - 1, total, 0.5)) if fewer else 0.0
    # Where both numbers are equal, twice the tail counts the middle twice.
    return McNemar(only_a, only_b, min(1.0, 2 * at_most), at_most + below)


def _portions(draws: int, width: int) -> list[int]:
    """Sizes that sum to `draws`, each of so many draws of `width` numbers as are held at once."""
    size = max(1, NUMBERS_AT_ONCE // width)
    return [min(size, draws - start) for start in range(0, draws, size)]
