"""What a score costs: each row's score against its parameters, operations, memory or seconds, and the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from mmkd.record import Direction
from mmkd.report.cell_text import unit as unit_of
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
from mmkd.report.plot_style import BLACK, BLUE, GREY, logarithmic_below, one
from mmkd.report.records import StoredRecord
from mmkd.report.statistics import summary
from mmkd.report.table_file import ScoreColumn, Split, ValueColumn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCORE = "score"
COST = "cost"


class File(FigureFile):
    """rows: label -> runs, a point each. score: `task.metric`, or `mean_score`. cost: as a column of a table.

    split: of the score. unit: `%` shows fractions times 100. log: whether costs stand on a logarithmic axis.
    """

    kind: Literal["pareto"]
    rows: Rows
    score: ScorePath
    cost: ValueColumn
    split: Split = "test"
    unit: Unit = "%"
    log: bool = False


@dataclass(frozen=True)
class Point:
    """One row. cost: mean over its runs. score: mean; low, high: 95% t-interval, None for one run.

    on_front: no other row is at least as good and as cheap, and better in one of the two.
    """

    row: str
    cost: float
    score: float
    low: float | None
    high: float | None
    on_front: bool


@dataclass(frozen=True)
class ParetoData(Data):
    """score, cost: labels of the axes."""

    score: str
    cost: str
    log: bool
    points: tuple[Point, ...]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> ParetoData:
    """The points that follow from the records.

    Raises ReportError for records that do not fit together.
    """
    columns: dict[str, ScoreColumn | ValueColumn] = {SCORE: ScoreColumn(score=file.score), COST: file.cost}
    table = score_table(file.rows, columns, stored, name, file.split)
    direction, cost_column = table.columns[0].direction, table.columns[1]
    size = file.cost.units[unit_of(cost_column)] if unit_of(cost_column) else 1.0
    places: dict[str, tuple[float, float]] = {}
    spans: dict[str, tuple[float | None, float | None]] = {}
    read = []
    for row in table.rows:
        scores, costs = row.cells[SCORE].values, row.cells[COST].values
        if not scores or not costs:
            continue
        found = summary([in_unit(value, file.unit) for value in scores.values()])
        places[row.label] = (fmean(costs.values()) / size, found.mean)
        spans[row.label] = (found.low, found.high)
        read.append(f"{row.label}: {seeds_text(list(scores))}")
    notes = missing_notes(table)
    if read:
        notes.insert(0, f"Mean over seeds with its 95% t-interval; filled: on the front. {'; '.join(read)}.")
    points = tuple(
        Point(row, *place, *spans[row], is_on_front(row, places, direction)) for row, place in places.items()
    )
    label = f"{file.cost.value}{f' ({unit_of(cost_column)})' if unit_of(cost_column) else ''}"
    score = f"{with_arrow(file.score, direction)}{' (%)' if file.unit == '%' else ''}"
    return ParetoData(tuple(notes), outcomes_of(table), score, label, file.log, points)


def is_on_front(row: str, places: dict[str, tuple[float, float]], direction: Direction | None) -> bool:
    """Whether no other row surpasses this one. places: row -> (cost, score)."""
    sign = -1 if direction == "minimize" else 1
    cost, score = places[row]
    return not any(
        other_cost <= cost
        and sign * other_score >= sign * score
        and (other_cost < cost or sign * other_score > sign * score)
        for other, (other_cost, other_score) in places.items()
        if other != row
    )


def draw(data: ParetoData) -> Figure:
    """Points with whiskers, the front joined by a line."""
    if not data.points:
        return nothing(data)
    figure, axes = one(2.6)
    front = sorted((point for point in data.points if point.on_front), key=lambda point: point.cost)
    axes.plot([each.cost for each in front], [each.score for each in front], color=GREY, linewidth=0.8, linestyle="--")
    for each in data.points:
        if each.low is not None and each.high is not None:
            axes.plot([each.cost] * 2, [each.low, each.high], color=BLUE, linewidth=1)
        axes.plot(each.cost, each.score, "o", color=BLUE, markerfacecolor=BLUE if each.on_front else "white")
        axes.annotate(
            each.row, (each.cost, each.score), textcoords="offset points", xytext=(5, 4), fontsize=7, color=BLACK
        )
    if data.log:
        logarithmic_below(axes)
    axes.margins(x=0.15)
    axes.set(xlabel=data.cost, ylabel=data.score)
    return with_notes(figure, data)
