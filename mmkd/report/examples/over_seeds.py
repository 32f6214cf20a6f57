"""One row against the baseline in one column, over the examples, seed by seed; and what of it stands in the table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean, median
from typing import Literal

import numpy as np

from mmkd.report.comparisons import GENERATOR_SEED
from mmkd.report.examples.measures import Measure
from mmkd.report.statistics.over_examples import bootstrap_interval, difference, kinds, mcnemar, randomisation

TestName = Literal["McNemar", "approximate randomisation"]


@dataclass(frozen=True)
class SeedTest:
    """Of the two networks of one seed: row minus baseline, its 95% interval, two-sided p; in the record's own unit.

    examples: how many both were scored on.
    """

    seed: int
    examples: int
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class OverExamples:
    """One row against the baseline in one column. by_seed: at least one, or none for the reason `untested`."""

    row: str
    column: str
    test: TestName | None
    by_seed: tuple[SeedTest, ...]
    untested: str | None = None

    @property
    def difference(self) -> float:
        """Mean over seeds."""
        return fmean(each.difference for each in self.by_seed)

    @property
    def interval(self) -> tuple[float, float]:
        """Medians over seeds of the intervals' lower and of their upper ends."""
        return median(each.low for each in self.by_seed), median(each.high for each in self.by_seed)

    @property
    def p(self) -> tuple[float, float, float]:
        """Median over seeds, lowest, highest."""
        found = [each.p for each in self.by_seed]
        return median(found), min(found), max(found)

    @property
    def examples(self) -> int:
        """How many a seed was tested on; the fewest, where seeds differ."""
        return min(each.examples for each in self.by_seed)


def seed_test(seed: int, row: np.ndarray, baseline: np.ndarray, measure: Measure) -> SeedTest:
    """row, baseline: what each example adds, [N, C], in the same order.

    Raises ValueError for fewer than 2 examples.
    """
    examples = kinds(row, baseline)
    low, high = bootstrap_interval(examples, measure.metric, np.random.default_rng(GENERATOR_SEED))
    if measure.has_mcnemar:
        p = mcnemar(row[:, 0] > 0, baseline[:, 0] > 0).p
    else:
        p = randomisation(examples, measure.metric, np.random.default_rng(GENERATOR_SEED))
    return SeedTest(seed, len(row), difference(examples, measure.metric), low, high, p)
