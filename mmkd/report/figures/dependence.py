"""How a score depends on one key of the experiment, and with it what one line of students gains over another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, Strict, ValidationInfo, field_validator

from mmkd.report.error import ReportError
from mmkd.report.figures.base import (
    Data,
    FigureFile,
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
from mmkd.report.plot_style import BLACK, GREY, panels, series
from mmkd.report.records import StoredRecord
from mmkd.report.statistics import paired_t, summary
from mmkd.report.table import Row
from mmkd.report.table_file import MEAN_SCORE, CeilingRow, Key, Label, Modality, RunRow, ScoreColumn, Split
from mmkd.report.variants import value_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORE = "score"
LONGEST = 32
"""Letters of a line beside an axis."""
READING = "Mark: mean over seeds, with its 95% t-interval; gains are paired by seed, and filled where it leaves 0 out."


class File(FigureFile):
    """lines: label -> rows, one for each value of `key`, a key of their experiments whose values are numbers.

    against: what the key is, in words. score: `task.metric`, or `mean_score`. baseline: the line that the other
    students' lines are compared with, at equal values. ceilings: modality -> label of what it allows at best.
    split: of the score. unit: `%` shows fractions times 100.
    """

    kind: Literal["dependence"]
    key: Key
    against: Label
    lines: Annotated[
        dict[Label, Annotated[tuple[RunRow, ...], Strict(False), Field(min_length=1)]], Field(min_length=1)
    ]
    score: ScorePath
    baseline: str | None = None
    ceilings: dict[Modality, Label] = {}
    split: Split = "test"
    unit: Unit = "%"

    @field_validator("baseline")
    @classmethod
    def _baseline_is_a_line(cls, baseline: str | None, info: ValidationInfo) -> str | None:
        lines = info.data.get("lines")
        if baseline is not None and lines is not None and baseline not in lines:
            raise ValueError(f"found `{baseline}`; expected one of: {', '.join(lines)}")
        return baseline


@dataclass(frozen=True)
class Point:
    """At one value of the key, in the figure's unit. low, high: 95% t-interval of the mean; None where one run."""

    line: str
    at: float
    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class DependenceData(Data):
    """scores, gains: points of the lines; gains are over `baseline`. ceilings: label -> (key's value, best score)."""

    against: str
    score: str
    unit: Unit
    baseline: str | None
    scores: tuple[Point, ...]
    gains: tuple[Point, ...]
    ceilings: dict[str, tuple[tuple[float, float], ...]]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> DependenceData:
    """The points that follow from the records.

    Raises ReportError for a row whose key is no number, and for records that do not fit together.
    """
    rows = {f"{line}, {place}": row for line, own in file.lines.items() for place, row in enumerate(own)}
    best = {
        f"{label}, {row.experiment}": CeilingRow(experiment=row.experiment, ceiling=modality)
        for modality, label in file.ceilings.items()
        for own in file.lines.values()
        for row in own
    }
    table = score_table({**rows, **best}, {SCORE: ScoreColumn(score=file.score)}, stored, name, file.split)
    found = {row.label: row for row in table.rows}
    values: dict[str, dict[float, dict[int | None, float]]] = {line: {} for line in file.lines}
    at_of: dict[str, float] = {}
    for line, own in file.lines.items():
        for place, asked in enumerate(own):
            row = found[f"{line}, {place}"]
            if row.records and row.cells[SCORE].values:
                at = at_of[asked.experiment] = _at(row, file.key, f"figure {name}, line {line}")
                values[line][at] = {seed: in_unit(v, file.unit) for seed, v in row.cells[SCORE].values.items()}
    sign = -1 if table.columns[0].direction == "minimize" else 1
    scores = tuple(_mean(line, at, list(own[at].values())) for line, own in values.items() for at in sorted(own))
    ceilings: dict[str, dict[float, float]] = {label: {} for label in file.ceilings.values()}
    for label, drawn in ceilings.items():
        for experiment, at in at_of.items():
            if known := list(found[f"{label}, {experiment}"].cells[SCORE].values.values()):
                drawn[at] = in_unit(known[0], file.unit)
    students = [line for line, own in file.lines.items() if own[0].role == "student" and line != file.baseline]
    base = values.get(file.baseline or "", {})
    gains = tuple(
        gain
        for line in students
        for at in sorted(values[line].keys() & base.keys())
        if (gain := _gain(line, at, values[line][at], base[at], sign)) is not None
    )
    seeds = {seeds_text(list(each)): None for own in values.values() for each in own.values() if len(each) > 1}
    notes = missing_notes(table)
    if scores:
        notes = [f"{file.split.capitalize()} scores; {'; '.join(seeds) or 'one seed'}. {READING}", *notes]
    return DependenceData(
        tuple(notes),
        outcomes_of(table),
        file.against,
        with_arrow(_name(file.score), table.columns[0].direction),
        file.unit,
        file.baseline,
        scores,
        gains,
        {label: tuple(sorted(drawn.items())) for label, drawn in ceilings.items() if drawn},
    )


def _name(score: str) -> str:
    return "mean score" if score == MEAN_SCORE else score


def _at(row: Row, key: str, where: str) -> float:
    record = row.records[0]
    at = value_of(record.experiment, key)
    if isinstance(at, bool) or not isinstance(at, int | float):
        raise ReportError(f"{where}: `{key}` of {record.file_name} is {at!r}; expected a number")
    return float(at)


def _mean(line: str, at: float, values: list[float]) -> Point:
    own = summary(values)
    return Point(line, at, own.mean, own.low, own.high)


def _gain(line: str, at: float, own: dict[int | None, float], base: dict[int | None, float], sign: int) -> Point | None:
    both = [seed for seed in own if seed in base]
    if not both:
        return None
    differences = [sign * (own[seed] - base[seed]) for seed in both]
    test = paired_t([sign * own[seed] for seed in both], [sign * base[seed] for seed in both])
    low, high = (None, None) if test is None else (test.low, test.high)
    return Point(line, at, sum(differences) / len(differences), low, high)


def draw(data: DependenceData) -> Figure:
    """Scores with the ceilings, and beside them the gains, where a baseline is named."""
    if not data.scores:
        return nothing(data)
    figure, grid = panels(2 if data.gains else 1, 2, 2.7)
    names = list(dict.fromkeys(point.line for point in data.scores))
    for place, name in enumerate(names):
        for axes, points in zip(grid, (data.scores, data.gains), strict=False):
            own = [point for point in points if point.line == name]
            colour, mark, style = series(place)
            if own:
                axes.plot([p.at for p in own], [p.mean for p in own], color=colour, linestyle=style, linewidth=1)
            for point in own:
                if point.low is not None and point.high is not None:
                    axes.plot([point.at] * 2, [point.low, point.high], color=colour, linewidth=1.2)
                sure = points is data.scores or (
                    point.low is not None and point.high is not None and point.low * point.high > 0
                )
                axes.plot(
                    point.at,
                    point.mean,
                    mark,
                    color=colour,
                    markerfacecolor=colour if sure else "white",
                    markersize=4.5,
                )
        grid[0].plot([], [], color=colour, marker=mark, linestyle=style, linewidth=1, markersize=4.5, label=name)
    for label, drawn in data.ceilings.items():
        grid[0].plot([at for at, _ in drawn], [best for _, best in drawn], color=GREY, linestyle=":", label=label)
    unit = " (%)" if data.unit == "%" else ""
    against = fill(data.against, LONGEST)
    grid[0].set(xlabel=against, ylabel=f"{data.score}{unit}")
    grid[0].legend(frameon=False, fontsize=7, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, ncols=2)
    if data.gains:
        grid[1].axhline(0, color=BLACK, linewidth=0.8)
        points_of = "points of %" if data.unit == "%" else "as recorded"
        grid[1].set(xlabel=against, ylabel=fill(f"gain over {data.baseline}, {points_of}", LONGEST))
    return with_notes(figure, data)
