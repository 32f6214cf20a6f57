"""The commands that make all that tables lack, each once."""

from __future__ import annotations

from collections.abc import Iterable

from mmkd.report.table import Table


def filling_commands(tables: Iterable[Table]) -> dict[str, list[str]]:
    """Command -> the rows that it fills, as `table NAME, row LABEL`, in the order of the tables.

    A number that no run can give, such as the score of a task that a teacher does not have, is not among them.
    """
    found: dict[str, list[str]] = {}
    for table in tables:
        for row in table.rows:
            for fill in dict.fromkeys(cell.fill for cell in row.cells.values() if cell.fill is not None):
                found.setdefault(fill, []).append(f"table {table.name}, row {row.label}")
    return found
