"""What the marks of a table mean: a line for each that it shows."""

from __future__ import annotations

from mmkd.report.cell_text import DAGGER
from mmkd.report.comparisons import SIGNIFICANT
from mmkd.report.table import Table


def marks_in_words(table: Table) -> list[str]:
    """The lines, in the order in which the marks stand in a cell."""
    cells = [cell for row in table.rows for cell in row.cells.values()]
    base = table.file.baseline
    lines = {
        "bold: the best student of a score column, by unrounded means": any(cell.best for cell in cells),
        "underlined: the second best, where there are three or more": any(cell.second for cell in cells),
        f"{DAGGER}: differs from `{base}`, Holm p < {SIGNIFICANT}": any(cell.significant for cell in cells),
        f"in brackets: mean difference to `{base}`, over the seeds that both have": any(
            cell.delta is not None for cell in cells
        ),
    }
    return [line for line, shown in lines.items() if shown]
