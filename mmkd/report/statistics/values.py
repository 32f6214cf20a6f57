"""What every statistic asks of its values: that they are finite, enough, and paired where pairs are compared."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence


def check_values(values: Sequence[float], least: int = 1) -> None:
    """Raises ValueError for fewer values than `least`, or one that is not finite."""
    if len(values) < least:
        raise ValueError(f"values: found {len(values)}, expected at least {least}")
    for value in values:
        if not math.isfinite(value):
            raise ValueError(f"value: found {value}, expected a finite number")


def check_pairs(a: Sequence[float], b: Sequence[float], least: int = 1) -> None:
    """Raises ValueError for unequal lengths, fewer pairs than `least`, or a value that is not finite."""
    if len(a) != len(b):
        raise ValueError(f"paired values: found {len(a)} and {len(b)}, expected as many of each")
    check_values(a, least)
    check_values(b, least)


def rounding(a: Sequence[float], b: Sequence[float]) -> float:
    """How far two differences a - b, which are equal by hand, may lie apart by rounding: 0.3 - 0.2 and 0.2 - 0.1."""
    return 4 * sys.float_info.epsilon * max(map(abs, [*a, *b]))
