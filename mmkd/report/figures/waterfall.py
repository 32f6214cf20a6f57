"""An ablation as steps: each row's score, and by how much it differs from the row before, with a 95% t-interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmkd.report.figures.base import (
    Data,
    FigureFile,
    Rows,
    ScorePath,
    Unit,
    in_unit,
    missing_notes,
    nothing,
    outcomes_of,
    score_table,
    seeds_text,
    with_arrow,
    with_notes,
)
from mmkd.report.plot_style import BLACK, BLUE, GREY, ORANGE, one
from mmkd.report.records import StoredRecord
from mmkd.report.statistics import paired_t
from mmkd.report.table_file import ScoreColumn, Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORE = "score"


class File(FigureFile):
    """rows: label -> students, each the row before with one thing changed. score: `task.metric`, or `mean_score`.

    split: of the score. unit: `%` shows fractions times 100.
    """

    kind: Literal["waterfall"]
    rows: Annotated[Rows, Field(min_length=2)]
    score: ScorePath
    split: Split = "test"
    unit: Unit = "%"


@dataclass(frozen=True)
class Step:
    """One row. level: its mean score over the seeds that all rows have. change: to the row before; None for the first.

    low, high: 95% t-interval of the change, paired by seed; None for one seed, or for changes that are all equal.
    """

    row: str
    level: float
    change: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class WaterfallData(Data):
    """score: label of the axis. better: whether it is better `up` or `down`. steps: of the rows that have records."""

    score: str
    better: Literal["up", "down"]
    steps: tuple[Step, ...]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> WaterfallData:
    """The steps that follow from the records; a row without any is left out, and the next one follows the one before.

    Raises ReportError for records that do not fit together.
    """
    table = score_table(file.rows, {SCORE: ScoreColumn(score=file.score)}, stored, name, file.split)
    direction = table.columns[0].direction
    values = {row.label: row.cells[SCORE].values for row in table.rows if row.cells[SCORE].values}
    seeds = [seed for seed in next(iter(values.values()), {}) if all(seed in own for own in values.values())]
    notes = missing_notes(table)
    steps = []
    if values and not seeds:
        notes.append("Missing: a seed that all rows have")
    elif values:
        own = {row: [in_unit(found[seed], file.unit) for seed in seeds] for row, found in values.items()}
        first = next(iter(own))
        steps.append(Step(first, fmean(own[first]), None, None, None))
        for before, row in pairwise(own):
            test = paired_t(own[row], own[before])
            change = fmean(a - b for a, b in zip(own[row], own[before], strict=True))
            low, high = (None, None) if test is None else (test.low, test.high)
            steps.append(Step(row, fmean(own[row]), change, low, high))
        notes.insert(
            0,
            f"{file.split.capitalize()} scores, mean over {seeds_text(seeds)}; on each step its change and the "
            "change's 95% t-interval, paired by seed.",
        )
    score = f"{with_arrow(file.score, direction)}{' (%)' if file.unit == '%' else ''}"
    better: Literal["up", "down"] = "down" if direction == "minimize" else "up"
    return WaterfallData(tuple(notes), outcomes_of(table), score, better, tuple(steps))


def draw(data: WaterfallData) -> Figure:
    """A bar from the level before to the own one; the whisker stands around the own level."""
    if not data.steps:
        return nothing(data)
    figure, axes = one(2.7)
    before = data.steps[0].level
    ends = [before]
    digits = 1 if max(abs(step.level) for step in data.steps) >= 10 else 3
    for x, step in enumerate(data.steps):
        good = step.change is not None and (step.change > 0) == (data.better == "up")
        colour = GREY if step.change is None else BLUE if good else ORANGE
        hatch = None if step.change is None or good else "////"
        axes.plot([x - 1.3 if x else x - 0.3, x + 0.3], [before] * 2, color=GREY, linewidth=0.8, linestyle=":")
        axes.bar(x, step.level - before, 0.6, before, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
        axes.plot([x - 0.3, x + 0.3], [step.level] * 2, color=BLACK, linewidth=1.4)
        text = f"{step.level:.{digits}f}"
        ends.append(step.level)
        if step.change is not None:
            text += f"\n({step.change:+z.{digits}f})"
        if step.low is not None and step.high is not None:
            span = [before + step.low, before + step.high]
            axes.plot([x, x], span, color=BLACK, linewidth=1, marker="_", markersize=5)
            ends += span
        axes.annotate(
            text, (x, max(ends[-3:])), textcoords="offset points", xytext=(0, 4), ha="center", va="bottom", fontsize=7
        )
        before = step.level
    spread = (max(ends) - min(ends)) or 1.0
    axes.set_ylim(min(ends) - 0.1 * spread, max(ends) + 0.3 * spread)
    axes.set_xticks(range(len(data.steps)), [step.row for step in data.steps], fontsize=7)
    axes.grid(axis="x", visible=False)
    axes.set_ylabel(data.score)
    return with_notes(figure, data)
