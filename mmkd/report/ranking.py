"""Which students of a score column are the best and the second best, by unrounded means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mmkd.record import Direction
from mmkd.report.cell import Cell

ENOUGH = 3
"""Students of which a second best is worth pointing out; of two it is the worst."""


def ranked(students: Mapping[str, Cell], direction: Direction) -> dict[str, Cell]:
    """The cells of one column, by row, with best and second marked; all of them where several are equal."""
    means = {row: cell.summary.mean for row, cell in students.items() if cell.summary is not None}
    order = sorted(set(means.values()), reverse=direction == "maximize")
    best, second = [*order[:2], None, None][:2]
    if len(means) < ENOUGH:
        second = None
    return {
        row: replace(cell, best=means[row] == best, second=means[row] == second) if row in means else cell
        for row, cell in students.items()
    }
