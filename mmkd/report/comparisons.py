"""Paired tests of every student row against the baseline row, over the seeds that both have."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mmkd.report.statistics import PairedTest, holm, paired_t
from mmkd.report.statistics.signs import SignTest, sign_flip

SIGNIFICANT = 0.05
"""Corrected p below which a difference to the baseline has its mark."""
GENERATOR_SEED = 0
"""Of every test that draws, so that a table is the same each time it is written."""


@dataclass(frozen=True)
class Comparison:
    """One row against the baseline in one column.

    pairs: seeds that both have. test, std, signs: None for fewer than 2 pairs. std: sample standard deviation of the
    paired differences. p_holm: p of `test` corrected over all tests of the table; None where the test gave no p.
    """

    row: str
    column: str
    pairs: int
    test: PairedTest | None
    std: float | None
    signs: SignTest | None
    p_holm: float | None

    @property
    def is_significant(self) -> bool:
        """Whether the difference has its mark."""
        return self.p_holm is not None and self.p_holm < SIGNIFICANT


def compare(students: Mapping[str, Mapping[str, Mapping[int | None, float]]], baseline: str) -> tuple[Comparison, ...]:
    """Compare rows with the baseline. students: row -> column -> seed -> score.

    A cell without values on either side gives no comparison: it is missing, and listed as such.
    """
    comparisons = []
    for row, columns in students.items():
        for column, values in columns.items():
            base = students[baseline][column]
            if row == baseline or not values or not base:
                continue
            seeds = [seed for seed in values if seed in base]
            a, b = [values[seed] for seed in seeds], [base[seed] for seed in seeds]
            test = paired_t(a, b)
            std = None if test is None else statistics.stdev(x - y for x, y in zip(a, b, strict=True))
            signs = None if test is None else sign_flip(a, b, np.random.default_rng(GENERATOR_SEED))
            comparisons.append(Comparison(row, column, len(seeds), test, std, signs, None))
    tested = [i for i, each in enumerate(comparisons) if each.test is not None and each.test.p is not None]
    p_values = [test.p for each in comparisons if (test := each.test) is not None and test.p is not None]
    for i, p in zip(tested, holm(p_values), strict=True):
        comparisons[i] = replace(comparisons[i], p_holm=p)
    return tuple(comparisons)
