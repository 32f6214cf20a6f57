"""What a table may show, and a check still names: runs that it wants and lacks, packages and machines that mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from mmkd.record import RunRecord
from mmkd.report.table import Row, Table
from mmkd.report.table_file import RunRow, ValueColumn

OWN = "mmkd"
"""The package whose version says nothing that the commit of a record does not say."""


def unsound(table: Table) -> Iterator[str]:
    """One line for each fault, by row, column and run.

    Packages must agree among the runs of a row, and of it and the baseline, which are paired by seed. Machines must
    agree where times or memory are compared. Scores may come from unlike machines.
    """
    runs = [row for row in table.rows if isinstance(row.shows, RunRow)]
    baseline = next((row for row in runs if row.label == table.file.baseline), None)
    for row in runs:
        yield from _lacking(table, row)
        first = baseline if baseline is not None and row.is_student else row
        yield from _mixed(table, row, "every column", [*first.records[:1], *row.records], _packages, "packages")
    measured = [c.label for c in table.columns if isinstance(c.shows, ValueColumn) and c.shows.is_measured]
    for row in runs if measured else ():
        first = next(each for each in runs if each.records) if row.records else row
        yield from _mixed(table, row, ", ".join(measured), [*first.records[:1], *row.records], _machine, "machines")


def _lacking(table: Table, row: Row) -> Iterator[str]:
    """The missing seeds of a row, where the table file says which there must be."""
    cell = next(iter(row.cells.values()))
    if table.file.seeds is not None and row.is_student and cell.fill is not None:
        yield f"table {table.name}, row {row.label}, every column: {cell.missing}"


def _mixed(
    table: Table,
    row: Row,
    columns: str,
    records: list[RunRecord],
    told: Callable[[RunRecord], Mapping[str, object]],
    what: str,
) -> Iterator[str]:
    for record in records[1:]:
        first, expected, found = records[0], told(records[0]), told(record)
        differing = [
            f"{name} {expected[name]} and {found[name]}"
            for name in sorted(expected.keys() & found.keys())
            if expected[name] != found[name]
        ]
        if differing:
            yield (
                f"table {table.name}, row {row.label}, {columns}: mixed {what}: {first.file_name} and "
                f"{record.file_name} have {', '.join(differing)}; expected the same; run both again with one"
            )


def _packages(record: RunRecord) -> Mapping[str, object]:
    return {name: version for name, version in record.packages.items() if name != OWN}


def _machine(record: RunRecord) -> Mapping[str, object]:
    machine = record.machine
    return {"device": machine.device, "cpu": machine.cpu, "threads": machine.threads, "processes": machine.processes}
