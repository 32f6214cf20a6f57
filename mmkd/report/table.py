"""Builds a table from records and a table file: typed cells with unrounded numbers, and what each rests on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from types import MappingProxyType

from mmkd.record import Direction, RunRecord
from mmkd.report.cell import Cell, Question, make_cell, quoted_cell, records_of
from mmkd.report.commands import filling
from mmkd.report.comparisons import Comparison, compare
from mmkd.report.consistency import check_experiments, check_row, common_direction, common_primary
from mmkd.report.error import ReportError
from mmkd.report.examples.over_seeds import OverExamples
from mmkd.report.ranking import ranked
from mmkd.report.table_file import CeilingRow, QuotedRow, RunRow, ScoreColumn, TableFile, ValueColumn, VaryRow
from mmkd.report.variants import expanded, rests_on

NO_STUDIES: Mapping[str, Sequence[str]] = MappingProxyType({})


@dataclass(frozen=True)
class Column:
    """One column. direction: of the score; None for a value, and for a score that no row has."""

    label: str
    shows: ScoreColumn | ValueColumn
    direction: Direction | None


@dataclass(frozen=True)
class Row:
    """One row.

    records: that it rests on, by seed. n: its number of runs; None for a ceiling and for what is quoted. cells: column
    label -> cell, in the columns' order.
    """

    label: str
    shows: RunRow | CeilingRow | QuotedRow
    records: tuple[RunRecord, ...]
    n: int | None
    cells: dict[str, Cell]

    @property
    def is_student(self) -> bool:
        """Whether these are students, which alone are compared with one another."""
        return isinstance(self.shows, RunRow) and self.shows.role == "student"


@dataclass(frozen=True)
class Table:
    """A table.

    file: with a row for each value of a key that is varied. records: all that it rests on, sorted by their names in the
    ledger. over_examples: none until `with_tests_over_examples` adds them.
    """

    name: str
    file: TableFile
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    records: tuple[RunRecord, ...]
    over_examples: tuple[OverExamples, ...] = ()

    def blocks(self) -> list[tuple[str | None, list[Row]]]:
        """(heading, rows), in the order shown; the rows of no group have no heading and come first."""
        rows = {row.label: row for row in self.rows}
        return [(heading, [rows[label] for label in labels]) for heading, labels in self.file.blocks()]


def build_table(
    records: Sequence[RunRecord], file: TableFile, name: str, studies: Mapping[str, Sequence[str]] = NO_STUDIES
) -> Table:
    """The table `name` that follows from the records; records of experiments that it does not show are left out.

    studies: name of a run -> the words of the `mmkd run` that a study makes it by, for the commands of what is missing.

    Raises ReportError, with row, column and records, where records cannot stand in one row or under one column.
    """
    try:
        file = expanded(file, records)
    except ReportError as error:
        raise ReportError(f"table {name}, {error}") from error
    rows_of_file = [row for row in file.rows.values() if isinstance(row, RunRow | CeilingRow)]
    used = [each for each in records if any(rests_on(row, each) for row in rows_of_file)]
    used.sort(key=lambda record: record.file_name)
    check_experiments(used, file, name)
    primary = common_primary(used, file, name)
    columns = tuple(
        Column(label, shows, common_direction(shows, used, primary, file.split, f"table {name}, column {label}"))
        for label, shows in file.columns.items()
    )
    rows = [_row(label, used, records, file, primary, name, studies) for label in file.rows]
    comparisons = _compare(rows, file, name)
    for column in columns:
        rows = _with_cells(rows, column.label, _marked(_students(rows, column.label), column, comparisons, file))
    return Table(name, file, columns, tuple(rows), comparisons, tuple(used))


def _row(
    label: str,
    used: list[RunRecord],
    known: Sequence[RunRecord],
    file: TableFile,
    primary: dict[str, str],
    name: str,
    studies: Mapping[str, Sequence[str]],
) -> Row:
    shows = file.rows[label]
    assert not isinstance(shows, VaryRow)
    if isinstance(shows, QuotedRow):
        quoted = {column: quoted_cell(shows, column, asked) for column, asked in file.columns.items()}
        return Row(label, shows, (), None, quoted)
    found = records_of(shows, used)
    lacking: tuple[int, ...] = ()
    if isinstance(shows, RunRow):
        check_row(found, f"table {name}, row {label}, every column")
        if shows.role == "student":
            lacking = tuple(seed for seed in file.seeds or () if seed not in {record.seed for record in found})
    fill = filling(shows, found, known, lacking or None, studies)
    cells = {}
    for column, asked in file.columns.items():
        try:
            cells[column] = make_cell(Question(shows, asked, file, primary, lacking, fill), found)
        except ReportError as error:
            raise ReportError(f"table {name}, row {label}, column {column}: {error}") from error
    return Row(label, shows, tuple(found), len(found) if isinstance(shows, RunRow) else None, cells)


def _students(rows: list[Row], column: str) -> dict[str, Cell]:
    return {row.label: row.cells[column] for row in rows if row.is_student}


def _with_cells(rows: list[Row], column: str, cells: dict[str, Cell]) -> list[Row]:
    return [replace(row, cells=row.cells | {column: cells[row.label]}) if row.label in cells else row for row in rows]


def _marked(
    students: dict[str, Cell], column: Column, comparisons: Sequence[Comparison], file: TableFile
) -> dict[str, Cell]:
    """The students' cells of one column, with the best, the significant and the differences to the baseline marked."""
    if column.direction is not None:
        students = ranked(students, column.direction)
    for each in comparisons:
        if each.column == column.label and each.is_significant:
            students[each.row] = replace(students[each.row], significant=True)
    if file.baseline is not None and file.shows_delta(column.label):
        base = students[file.baseline].values
        for label in students.keys() - {file.baseline}:
            students[label] = replace(students[label], delta=_delta(students[label].values, base))
    return students


def _delta(values: dict[int | None, float], base: dict[int | None, float]) -> float | None:
    differences = [value - base[seed] for seed, value in values.items() if seed in base]
    return fmean(differences) if differences else None


def _compare(rows: list[Row], file: TableFile, name: str) -> tuple[Comparison, ...]:
    if file.baseline is None:
        return ()
    tested = file.tested_columns()
    students = {row.label: {label: row.cells[label].values for label in tested} for row in rows if row.is_student}
    if file.baseline not in students:
        raise ReportError(
            f"table {name}, baseline: found no row `{file.baseline}`; expected one of: {', '.join(students)}"
        )
    return compare(students, file.baseline)
