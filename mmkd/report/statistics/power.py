"""What a number of seeds can show: the power of the paired t-test, the pairs it needs, the difference it could show.

Cohen, Statistical power analysis for the behavioral sciences, 1988. With n pairs whose differences have mean d and
standard deviation s, t is noncentral with n - 1 degrees of freedom and noncentrality sqrt(n) d / s. Both tails count:
a test that finds the wrong sign rejects too.

The power at an observed difference is that difference's p in other words; it plans the next experiment, and says
nothing more about this one (Hoenig and Heisey, The abuse of power, The American Statistician 2001).
"""

from __future__ import annotations

import math

LEVEL, POWER = 0.05, 0.8
MOST_PAIRS = 1_000_000


def power_of(pairs: int, effect: float, level: float = LEVEL) -> float:
    """Chance that a two-sided paired t-test of so many pairs gives p below `level`; effect: mean / std of differences.

    Raises ValueError for fewer than 2 pairs, an effect that is not finite, or a level that is not within 0..1.
    """
    if pairs < 2:
        raise ValueError(f"pairs: found {pairs}, expected at least 2")
    _check(effect, level)
    from scipy.special import stdtrit
    from scipy.stats import nct

    free, shift = pairs - 1, math.sqrt(pairs) * abs(effect)
    critical = float(stdtrit(free, 1 - level / 2))
    # The wrong sign's tail is the right one's of the opposite effect; asked for as `cdf`, scipy gives NaN for some.
    return float(nct.sf(critical, free, shift) + nct.sf(critical, free, -shift))


def pairs_needed(effect: float, power: float = POWER, level: float = LEVEL) -> int | None:
    """The smallest number of pairs of at least this power; None where `MOST_PAIRS` are too few.

    Raises ValueError for an effect that is not finite, or a level or power that is not within 0..1.
    """
    _check(effect, level, power)
    enough = 2
    while power_of(enough, effect, level) < power:
        enough *= 2
        if enough > MOST_PAIRS:
            return None
    too_few = 1 if enough == 2 else enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        if power_of(middle, effect, level) < power:
            too_few = middle
        else:
            enough = middle
    return enough


def smallest_difference(pairs: int, std: float, power: float = POWER, level: float = LEVEL) -> float:
    """The difference that so many pairs show with this power; std: of the differences, in whose unit it is.

    Raises ValueError as `power_of`, for a std that is negative, or a power that is not within level..1.
    """
    _check(std, level, power)
    if std < 0:
        raise ValueError(f"standard deviation: found {std}, expected at least 0")
    if power <= level:
        raise ValueError(f"power: found {power}, expected above the level {level}, which no difference at all gives")
    from scipy.optimize import brentq

    highest = 1.0
    while power_of(pairs, highest, level) < power:
        highest *= 2
    return std * float(brentq(lambda effect: power_of(pairs, effect, level) - power, 0, highest, xtol=1e-12))


def _check(effect: float, level: float, power: float = POWER) -> None:
    if not math.isfinite(effect):
        raise ValueError(f"effect: found {effect}, expected a finite number")
    for name, value in (("level", level), ("power", power)):
        if not 0 < value < 1:
            raise ValueError(f"{name}: found {value}, expected above 0 and below 1")
