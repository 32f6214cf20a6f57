"""Builds a table from records and a table file: typed cells with unrounded numbers, and what each rests on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmkd.record import Direction, RunRecord
from mmkd.report.cell import Cell, Question, make_cell, records_of, rests_on
from mmkd.report.comparisons import Comparison, compare
from mmkd.report.consistency import check_experiments, check_row, common_direction, common_primary
from mmkd.report.error import ReportError
from mmkd.report.table_file import CeilingRow, RunRow, ScoreColumn, TableFile, ValueColumn


@dataclass(frozen=True)
class Column:
    """One column. direction: of the score; None for a value, and for a score that no row has."""

    label: str
    shows: ScoreColumn | ValueColumn
    direction: Direction | None


@dataclass(frozen=True)
class Row:
    """One row. n: its number of runs; None for a ceiling. cells: column label -> cell, in the columns' order."""

    label: str
    shows: RunRow | CeilingRow
    n: int | None
    cells: dict[str, Cell]

    @property
    def is_student(self) -> bool:
        """Whether these are students, which alone are compared with one another."""
        return isinstance(self.shows, RunRow) and self.shows.role == "student"


@dataclass(frozen=True)
class Table:
    """A table. records: all that it rests on, sorted by their names in the ledger."""

    name: str
    file: TableFile
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    records: tuple[RunRecord, ...]


def build_table(records: Sequence[RunRecord], file: TableFile, name: str) -> Table:
    """The table `name` that follows from the records; records of experiments that it does not show are left out.

    Raises ReportError, with row, column and records, where records cannot stand in one row or under one column.
    """
    used = [each for each in records if any(rests_on(row, each.file_name) for row in file.rows.values())]
    used.sort(key=lambda record: record.file_name)
    check_experiments(used, file, name)
    primary = common_primary(used, file, name)
    columns = tuple(
        Column(label, shows, common_direction(shows, used, primary, file.split, f"table {name}, column {label}"))
        for label, shows in file.columns.items()
    )
    rows = [_row(label, used, file, primary, name) for label in file.rows]
    for column in columns:
        rows = _mark_best(rows, column)
    return Table(name, file, columns, tuple(rows), _compare(rows, file), tuple(used))


def _row(label: str, used: list[RunRecord], file: TableFile, primary: dict[str, str], name: str) -> Row:
    shows = file.rows[label]
    found = records_of(shows, used)
    if isinstance(shows, RunRow):
        check_row(found, f"table {name}, row {label}, every column")
    cells = {}
    for column, asked in file.columns.items():
        try:
            cells[column] = make_cell(Question(shows, asked, file, primary), found)
        except ReportError as error:
            raise ReportError(f"table {name}, row {label}, column {column}: {error}") from error
    return Row(label, shows, len(found) if isinstance(shows, RunRow) else None, cells)


def _mark_best(rows: list[Row], column: Column) -> list[Row]:
    """Mark the best student of a score column, by unrounded means; all of them where several are equal."""
    means = [cell.summary.mean for row in rows if row.is_student and (cell := row.cells[column.label]).summary]
    if not means or column.direction is None:
        return rows
    best = max(means) if column.direction == "maximize" else min(means)
    marked = []
    for row in rows:
        cell = row.cells[column.label]
        if row.is_student and cell.summary is not None and cell.summary.mean == best:
            row = replace(row, cells=row.cells | {column.label: replace(cell, best=True)})
        marked.append(row)
    return marked


def _compare(rows: list[Row], file: TableFile) -> tuple[Comparison, ...]:
    if file.baseline is None:
        return ()
    scores = [label for label, shows in file.columns.items() if isinstance(shows, ScoreColumn)]
    students = {row.label: {label: row.cells[label].values for label in scores} for row in rows if row.is_student}
    return compare(students, file.baseline)
