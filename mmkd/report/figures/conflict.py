"""Where tasks pull against each other: cosines of their gradients at the shared weights (2001.06782, definition 1).

The history holds them where the run looked at its gradients (`mmkd.diagnostics`): before the weighting, a mean over the
batches of an epoch that were looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from mmkd.record import RunRecord
from mmkd.report.figures._heat import heat
from mmkd.report.figures.base import Data, FigureFile, Rows, nothing, outcomes, runs_of_rows, seeds_text, with_notes
from mmkd.report.plot_style import panels
from mmkd.report.records import StoredRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 2


class File(FigureFile):
    """rows: label -> runs, a panel each."""

    kind: Literal["conflict"]
    rows: Rows


@dataclass(frozen=True)
class Pair:
    """Two tasks of one panel. cosine: mean over the looks, one for each seed and epoch that has one.

    looks: how many; below: of them, how many are below 0.
    """

    panel: str
    one: str
    other: str
    cosine: float
    looks: int
    below: int


@dataclass(frozen=True)
class ConflictData(Data):
    """panels: labels of the rows. tasks: panel -> what the weighting balances, in the order of the history."""

    panels: tuple[str, ...]
    tasks: dict[str, tuple[str, ...]]
    pairs: tuple[Pair, ...]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> ConflictData:
    """The cosines that follow from the records.

    Raises ReportError for records that do not fit together.
    """
    found, notes = runs_of_rows(file.rows, stored, name)
    tasks, pairs, read = {}, list[Pair](), []
    for panel, runs in found.items():
        records = [run.record for run in runs if run.record]
        names = dict.fromkeys(
            each for record in records for entry in record.history for each in entry.get("weights", {})
        )
        own = _pairs(panel, list(names), records)
        tasks[panel] = tuple(names)
        pairs += own
        if own:
            read.append(f"{panel}: {seeds_text([record.seed for record in records])}")
        else:
            notes.append(f"Missing: {panel}: its history holds no cosine between two tasks")
    if read:
        notes.insert(
            0,
            "Cosine of two tasks' gradients at the shared weights, before the weighting: mean over seeds and epochs; "
            f"below it, in how many of them it is under 0. {'; '.join(read)}.",
        )
    used = outcomes(run for runs in found.values() for run in runs)
    return ConflictData(tuple(notes), used, tuple(file.rows), tasks, tuple(pairs))


def _pairs(panel: str, names: list[str], records: Sequence[RunRecord]) -> list[Pair]:
    looks = [entry.get("diagnostics", {}).get("cosine", {}) for record in records for entry in record.history]
    pairs = []
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            both = (f"{one}-{other}", f"{other}-{one}")
            values = [float(look[key]) for look in looks for key in both if key in look]
            if values:
                below = sum(value < 0 for value in values)
                pairs.append(Pair(panel, one, other, fmean(values), len(values), below))
    return pairs


def draw(data: ConflictData) -> Figure:
    """A square for each row; each pair stands once, below the diagonal."""
    if not data.pairs:
        return nothing(data)
    shown = [panel for panel in data.panels if any(pair.panel == panel for pair in data.pairs)]
    most = max(len(data.tasks[panel]) for panel in shown)
    figure, grid = panels(len(shown), ACROSS, 0.6 + 0.45 * (most - 1))
    for axes, panel in zip(grid, shown, strict=True):
        names = data.tasks[panel]
        pairs = {frozenset((each.one, each.other)): each for each in data.pairs if each.panel == panel}
        cells = [
            [pairs.get(frozenset((one, other))) if x <= y else None for x, other in enumerate(names[:-1])]
            for y, one in enumerate(names[1:])
        ]
        values = [[None if each is None else each.cosine for each in line] for line in cells]
        texts = [["" if each is None else _text(each) for each in line] for line in cells]
        heat(axes, values, texts, names[1:], names[:-1], limit=1)
        axes.set_title(panel, fontsize=8)
    return with_notes(figure, data)


def _text(pair: Pair) -> str:
    return f"{pair.cosine:+z.2f}\n{pair.below} of {pair.looks}"
