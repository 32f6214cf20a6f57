"""How numbers are written: one wording for Markdown, LaTeX and the terminal."""

from __future__ import annotations

from mmkd.report.cell import Cell
from mmkd.report.table import Column, Row
from mmkd.report.table_file import ScoreColumn

MISSING = "\N{EN DASH}"
DAGGER = "\N{DAGGER}"
ARROWS = {"maximize": "\N{UPWARDS ARROW}", "minimize": "\N{DOWNWARDS ARROW}"}


def heading(column: Column) -> str:
    """A column's label, with an arrow to where a score is better, and the unit of what is no score."""
    if column.direction is not None:
        return f"{column.label} {ARROWS[column.direction]}"
    if isinstance(column.shows, ScoreColumn) or unit(column) == "":
        return column.label
    return f"{column.label} ({unit(column)})"


def unit(column: Column) -> str:
    """What the column's numbers are shown in; nothing for plain numbers."""
    shows = column.shows
    if isinstance(shows, ScoreColumn):
        return "%" if shows.unit == "%" else ""
    if shows.unit is not None:
        return shows.unit
    return {"peak_memory": "MiB"}.get(shows.value, "s") if shows.is_measured else ""


def number_text(number: float, column: Column, sign: bool = False) -> str:
    """A number of the record's own unit, in the column's unit and with its decimals; never `-0`.

    sign: write + as well, as for a difference.
    """
    shows = column.shows
    if isinstance(shows, ScoreColumn):
        shown = number * 100 if shows.unit == "%" else number
        default = 1 if shows.unit == "%" else 3
    else:
        shown = number / shows.units.get(unit(column), 1.0)
        default = 0 if unit(column) == "" else 1
    digits = default if shows.digits is None else shows.digits
    return f"{shown:{'+' if sign else ''}z,.{digits}f}"


def cell_text(cell: Cell, column: Column) -> str:
    """Mean ± sample standard deviation; the mean alone for one run, and for a value that all runs share."""
    if cell.summary is None:
        return MISSING
    mean = number_text(cell.summary.mean, column)
    varies = isinstance(column.shows, ScoreColumn) or len(set(cell.values.values())) > 1
    if cell.summary.std is None or not varies:
        return mean
    return f"{mean} ± {number_text(cell.summary.std, column)}"


def after_text(cell: Cell, column: Column) -> str:
    """What stands behind the number: the mark of a significant difference, and the difference."""
    mark = DAGGER if cell.significant else ""
    return mark if cell.delta is None else f"{mark} ({number_text(cell.delta, column, sign=True)})"


def runs_text(row: Row) -> str:
    """The number of runs of a row; nothing for a ceiling, which is not run."""
    return "" if row.n is None else str(row.n)


def p_text(p: float) -> str:
    """A p-value behind the letter: `= 0.123`."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
