"""Almost stochastic order: how far one distribution of scores is from being the better one at every quantile.

Del Barrio, Cuesta-Albertos and Matran, An optimal transportation approach for assessing almost stochastic order, 2018
(1705.01788); Dror, Shlomov and Reichart, Deep dominance, ACL 2019 (P19-1266). With the quantile functions Qa and Qb of
two samples, the violation of "a is the larger" is

    epsilon(a, b) = integral over {t: Qa(t) < Qb(t)} of (Qa(t) - Qb(t))^2 dt / integral over 0..1 of the same,

0 where a is the larger at every t, 1 where b is, and epsilon(a, b) + epsilon(b, a) = 1. Its upper bound at level alpha,
epsilon_min = epsilon - sqrt((n + m) / (n m)) sigma z(alpha), takes sigma / sqrt(n m / (n + m)) from a bootstrap of both
samples. Below 0.5 a is said to be almost stochastically larger.

The bound holds for many values, and promises too much of a few: the resamples of two samples that do not overlap all
have epsilon 0. Simulated at alpha 0.05, with epsilon 0.5 in truth (normal scores, one side of twice the deviation), it
is below 0.5 in 23% of cases with 5 values of each, in 9% with 200. Of two equal distributions the theory says nothing:
it is below 0.5 in 20% of cases, with 5 values or 100, and below 0.2 in 7% and 2%.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmkd.report.statistics.values import check_values

RESAMPLES = 1000


def violation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Epsilon of samples [..., N] and [..., M] of larger-is-better scores; 0.5 where the two samples are the same.

    Quantile functions of samples are steps, so that the integrals are sums over the steps of both.
    """
    n, m = a.shape[-1], b.shape[-1]
    edges = np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)  # in 1 / (n m)
    gap = np.sort(a, axis=-1)[..., edges[:-1] // m] - np.sort(b, axis=-1)[..., edges[:-1] // n]
    squares = gap**2 * np.diff(edges)
    whole = squares.sum(-1)
    violated = (squares * (gap < 0)).sum(-1)
    return np.where(whole > 0, violated / np.where(whole > 0, whole, 1), 0.5)


def epsilon_min(
    a: Sequence[float],
    b: Sequence[float],
    generator: np.random.Generator,
    alpha: float = 0.05,
    resamples: int = RESAMPLES,
) -> float:
    """Upper bound, 0 to 1, of the violation of "a is the larger", at level alpha.

    Raises ValueError for fewer than 2 values on a side, one that is not finite, or a level that is not within 0..0.5.
    """
    check_values(a, least=2)
    check_values(b, least=2)
    if not 0 < alpha <= 0.5:
        raise ValueError(f"level: found {alpha}, expected above 0 and at most 0.5")
    from scipy.special import ndtri

    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    drawn = violation(generator.choice(one, (resamples, len(one))), generator.choice(other, (resamples, len(other))))
    return float(np.clip(violation(one, other) - drawn.std() * ndtri(alpha), 0, 1))
