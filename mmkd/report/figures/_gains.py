"""What rows gain over a baseline in each score, paired by seed: the data of `gain` and `teachers`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from mmkd.report.figures.base import (
    Data,
    Unit,
    in_unit,
    missing_notes,
    outcomes_of,
    score_table,
    seeds_text,
    with_arrow,
)
from mmkd.report.records import StoredRecord
from mmkd.report.statistics import paired_t
from mmkd.report.table_file import RunRow, ScoreColumn, Split


@dataclass(frozen=True)
class Gain:
    """One row's gain in one score, in the figure's unit; above 0 where the row is better than the baseline.

    by_seed: seed -> gain, of the seeds that both have. low, high: 95% t-interval of the mean; None for one seed, or
    for gains that are all equal.
    """

    row: str
    score: str
    by_seed: dict[str, float]
    mean: float
    low: float | None
    high: float | None

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves 0 out."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class GainData(Data):
    """rows, scores: labels in the order shown; scores with their arrows. gains: those that the records give."""

    baseline: str
    unit: Unit
    rows: tuple[str, ...]
    scores: tuple[str, ...]
    gains: tuple[Gain, ...]


def gain_data(
    rows: Mapping[str, RunRow],
    baseline: tuple[str, RunRow],
    scores: Mapping[str, str],
    split: Split,
    unit: Unit,
    stored: Sequence[StoredRecord],
    name: str,
) -> GainData:
    """The gains that follow from the records.

    Raises ReportError for records that do not fit together.
    """
    base, base_row = baseline
    columns = {label: ScoreColumn(score=score) for label, score in scores.items()}
    table = score_table({base: base_row, **rows}, columns, stored, name, split, base)
    cells = {row.label: row.cells for row in table.rows}
    shown = {column.label: with_arrow(column.label, column.direction) for column in table.columns}
    worse_up = {column.label: column.direction == "minimize" for column in table.columns}
    gains, notes, seeds = [], missing_notes(table), dict[str, list[str]]()
    for row in rows:
        for score in scores:
            values, others = cells[row][score].values, cells[base][score].values
            both = [seed for seed in values if seed in others]
            if values and others and not both:
                notes.append(f"Missing: {row}, {score}: no seed that `{base}` has, too")
            if not both:
                continue
            sign = -1 if worse_up[score] else 1
            own = [sign * in_unit(values[seed], unit) for seed in both]
            base_values = [sign * in_unit(others[seed], unit) for seed in both]
            test = paired_t(own, base_values)
            by_seed = {str(seed): a - b for seed, a, b in zip(both, own, base_values, strict=True)}
            low, high = (None, None) if test is None else (test.low, test.high)
            gains.append(Gain(row, shown[score], by_seed, fmean(by_seed.values()), low, high))
            seeds.setdefault(seeds_text(both), []).append(row)
    paired = [f"{', '.join(dict.fromkeys(who))}: {which}" for which, who in seeds.items()]
    if paired:
        notes.insert(0, f"{split.capitalize()} scores, paired by seed. {'; '.join(paired)}.")
    return GainData(tuple(notes), outcomes_of(table), base, unit, tuple(rows), tuple(shown.values()), tuple(gains))
