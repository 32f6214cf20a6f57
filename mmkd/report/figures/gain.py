"""What rows gain over a baseline, score by score: a dot for each seed, the mean, and its 95% t-interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from mmkd.report.figures._gains import GainData, gain_data
from mmkd.report.figures.base import FigureFile, Rows, ScorePath, Unit, nothing, with_notes
from mmkd.report.plot_style import BLACK, SERIES, one, series
from mmkd.report.records import StoredRecord
from mmkd.report.table_file import Label, Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

READING = "Mark: mean gain, filled where the bar, its 95% t-interval, leaves 0 out; small ticks: the seeds."


class File(FigureFile):
    """rows: label -> students, the baseline among them. baseline: the label of the row that the others are paired with.

    scores: label -> `task.metric`, or `mean_score`. split: of the scores. unit: `%` shows fractions times 100.
    """

    kind: Literal["gain"]
    rows: Annotated[Rows, Field(min_length=2)]
    baseline: str
    scores: Annotated[dict[Label, ScorePath], Field(min_length=1)]
    split: Split = "test"
    unit: Unit = "%"

    @field_validator("rows")
    @classmethod
    def _rows_are_students(cls, rows: Rows) -> Rows:
        teachers = [label for label, row in rows.items() if row.role == "teacher"]
        if teachers:
            raise ValueError(f"found a teacher in {', '.join(teachers)}; expected students, which are paired by seed")
        return rows

    @field_validator("baseline")
    @classmethod
    def _baseline_is_a_row(cls, baseline: str, info: ValidationInfo) -> str:
        rows = info.data.get("rows")
        if rows is not None and baseline not in rows:
            raise ValueError(f"found `{baseline}`; expected one of: {', '.join(rows)}")
        return baseline

    @model_validator(mode="after")
    def _rows_look_different(self) -> Self:
        if len(self.scores) > 1 and len(self.rows) - 1 > len(SERIES):
            raise ValueError(
                f"several scores of {len(self.rows)} rows: expected at most {len(SERIES) + 1}, or one score"
            )
        return self


def data(file: File, stored: Sequence[StoredRecord], name: str) -> GainData:
    """The gains that follow from the records."""
    others = {label: row for label, row in file.rows.items() if label != file.baseline}
    base = (file.baseline, file.rows[file.baseline])
    found = gain_data(others, base, file.scores, file.split, file.unit, stored, name)
    return replace(found, notes=(READING, *found.notes)) if found.gains else found


def draw(data: GainData) -> Figure:
    """A block for each score, in it a line for each row; of one score, the rows stand beside the axis."""
    if not data.gains:
        return nothing(data)
    single = len(data.scores) == 1
    figure, axes = one(0.75 + (0.14 + 0.2 * len(data.rows)) * len(data.scores))
    step = 0.8 / len(data.rows)
    aside = [(place - (len(data.rows) - 1) / 2) * step for place in range(len(data.rows))]
    for place, row in enumerate(data.rows):
        colour, mark, _ = series(0 if single else place)
        for each in (gain for gain in data.gains if gain.row == row):
            height = data.scores.index(each.score) + aside[place]
            if each.low is not None and each.high is not None:
                axes.plot([each.low, each.high], [height] * 2, color=colour, linewidth=1.4, label="_interval")
            dots = list(each.by_seed.values())
            axes.plot(dots, [height + 0.22 * step] * len(dots), "|", color=colour, markersize=4, label="_seeds")
            face = colour if each.is_sure else "white"
            axes.plot(each.mean, height, mark, color=colour, markerfacecolor=face, markersize=5, label="_mean")
        if not single:
            axes.plot([], [], color=colour, marker=mark, markersize=5, linewidth=1.4, label=row)
    axes.axvline(0, color=BLACK, linewidth=0.8)
    what = f" in {data.scores[0]}" if single else ""
    points = "in points of %" if data.unit == "%" else "as recorded"
    axes.set_xlabel(f"gain{what} over {data.baseline}, {points}; to the right of 0 is better")
    axes.grid(axis="y", visible=False)
    if single:
        axes.set_yticks(aside, data.rows)
        axes.set_ylim(0.5, -0.5)
    else:
        axes.set_yticks(range(len(data.scores)), data.scores)
        axes.set_ylim(len(data.scores) - 0.4, -0.6)
        axes.legend(frameon=False, fontsize=7, ncols=3, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)
    return with_notes(figure, data)
