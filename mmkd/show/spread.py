"""How numbers spread: their mean, quantiles and histogram."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BINS = 24


@dataclass(frozen=True, slots=True)
class Spread:
    """Of n values. percentile_95 lies between two of them where it must, by linear interpolation."""

    n: int
    mean: float
    median: float
    percentile_95: float
    smallest: float
    largest: float


@dataclass(frozen=True, slots=True)
class Histogram:
    """edges: the left ends of bins of one width. counts: split -> values in each bin.

    open_end: the last bin holds all that is larger, too.
    """

    edges: list[float]
    width: float
    counts: dict[str, list[int]]
    open_end: bool


def spread(values: Sequence[float]) -> Spread:
    """Of one value or more; raises StatisticsError (a ValueError) for none."""
    # `inclusive` is the linear interpolation of numpy.percentile. It wants two values.
    cuts = statistics.quantiles([*values, *values[:1]] if len(values) == 1 else values, n=20, method="inclusive")
    mean, median = statistics.fmean(values), float(statistics.median(values))
    return Spread(len(values), mean, median, cuts[-1], min(values), max(values))


def histogram_of_counts(values: Mapping[str, Sequence[int]]) -> Histogram | None:
    """Of whole numbers from 1: the 1% that are largest share the last bin. None for no values."""
    everything = sorted(value for those in values.values() for value in those)
    if not everything:
        return None
    end = everything[math.ceil(0.99 * len(everything)) - 1]
    width = math.ceil(end / BINS)
    edges = [float(edge) for edge in range(1, end + 1, width)]
    return _histogram(values, edges, float(width), everything[-1] >= edges[-1] + width)


def histogram_of_values(values: Mapping[str, Sequence[float]]) -> Histogram | None:
    """Of numbers, from the smallest to the largest. None for no values, or when all are the same."""
    everything = [value for those in values.values() for value in those]
    if not everything or min(everything) == max(everything):
        return None
    start, width = min(everything), (max(everything) - min(everything)) / BINS
    return _histogram(values, [start + place * width for place in range(BINS)], width, False)


def _histogram(values: Mapping[str, Sequence[float]], edges: list[float], width: float, open_end: bool) -> Histogram:
    last = len(edges) - 1
    counts: dict[str, list[int]] = {}
    for split, those in values.items():
        places = Counter(min(int((value - edges[0]) / width), last) for value in those)
        counts[split] = [places[place] for place in range(len(edges))]
    return Histogram(edges, width, counts, open_end)
