"""Prints tables in the terminal: one of the results, with its notes, or the scores of records just made."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from mmkd.record import RunRecord
from mmkd.report.cell import Cell
from mmkd.report.cell_text import after_text, cell_text, heading, runs_text
from mmkd.report.notes import notes
from mmkd.report.table import Column, Table


def score_table(records: Sequence[RunRecord], split: str = "test") -> Grid:
    """One line per record: each task's first metric and their mean, on a split, in percent."""
    tasks = {task: metric for record in records for task, metric in record.primary.items()}
    grid = Grid(title=f"{split} scores in percent", box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("", no_wrap=True)
    for name in ("seed", *(f"{task}\n{metric}" for task, metric in tasks.items()), "mean", "epoch\nkept"):
        grid.add_column(name, justify="right")
    for record in records:
        who = record.name if record.teacher is None else f"teacher {record.teacher}"
        scores = [record.scores[split].get(task, {}).get(metric) for task, metric in tasks.items()]
        mean = f"{100 * record.mean_score(split):.1f}" if len(record.primary) == len(tasks) else "–"
        shown = ["–" if score is None else f"{100 * score.value:.1f}" for score in scores]
        grid.add_row(who, str(record.seed), *shown, mean, str(record.selection.epoch))
    return grid


def _shown(cell: Cell, column: Column) -> Text:
    style = "bold" if cell.best else "underline" if cell.second else ""
    return Text.assemble((cell_text(cell, column), style), after_text(cell, column))


def print_table(table: Table, console: Console) -> None:
    """Print a table on a rich console; labels are shown as they are, without markup."""
    grid = Grid(title=Text(table.file.title), box=box.SIMPLE_HEAD, title_justify="left")
    grid.add_column("", no_wrap=True)
    for column in table.columns:
        grid.add_column(Text(heading(column)), justify="right")
    grid.add_column("n", justify="right")
    for title, rows in table.blocks():
        if title is not None:
            grid.add_section()
            grid.add_row(Text(title, style="italic"))
        for row in rows:
            cells = [(row.cells[column.label], column) for column in table.columns]
            grid.add_row(Text(row.label), *(_shown(cell, column) for cell, column in cells), runs_text(row))
    console.print(grid)
    for title, lines in notes(table):
        console.print(Text(title, style="bold"))
        for line in lines:
            console.print(Text(f"  {line.replace('`', '')}"))
