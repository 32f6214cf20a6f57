"""Prints a table, with its notes, in the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmkd.report.cell_text import cell_text, heading, runs_text
from mmkd.report.notes import notes
from mmkd.report.table import Table


def print_table(table: Table, console: Console) -> None:
    """Print a table on a rich console; labels are shown as they are, without markup."""
    grid = Grid(title=Text(table.file.title), box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("")
    for column in table.columns:
        grid.add_column(Text(heading(column)), justify="right")
    grid.add_column("n", justify="right")
    for row in table.rows:
        cells = [(row.cells[column.label], column) for column in table.columns]
        texts = [Text(cell_text(cell, column), style="bold" if cell.best else "") for cell, column in cells]
        grid.add_row(Text(row.label), *texts, runs_text(row))
    console.print(grid)
    for title, lines in notes(table):
        console.print(Text(title, style="bold"))
        for line in lines:
            console.print(Text(f"  {line.replace('`', '')}"))
