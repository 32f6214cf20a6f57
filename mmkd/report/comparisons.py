"""Paired tests of every student row against the baseline row, over the seeds that both have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mmkd.report.statistics import PairedTest, holm, paired_t


@dataclass(frozen=True)
class Comparison:
    """One row against the baseline in one column.

    pairs: seeds that both have. test: None for fewer than 2 pairs. p_holm: p corrected over all tests of the table;
    None where the test gave no p.
    """

    row: str
    column: str
    pairs: int
    test: PairedTest | None
    p_holm: float | None


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
            test = paired_t([values[seed] for seed in seeds], [base[seed] for seed in seeds])
            comparisons.append(Comparison(row, column, len(seeds), test, None))
    tested = [i for i, each in enumerate(comparisons) if each.test is not None and each.test.p is not None]
    p_values = [test.p for each in comparisons if (test := each.test) is not None and test.p is not None]
    for i, p in zip(tested, holm(p_values), strict=True):
        comparisons[i] = replace(comparisons[i], p_holm=p)
    return tuple(comparisons)
