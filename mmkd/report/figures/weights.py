"""How the weighting balances: the weight of each loss, epoch by epoch, as the mean over seeds with its range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mmkd.report.figures._lines import Line, draw_lines, line_of
from mmkd.report.figures.base import Data, FigureFile, Rows, nothing, outcomes, runs_of_rows, seeds_text, with_notes
from mmkd.report.plot_style import integers_below, panels
from mmkd.report.records import StoredRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 2


class File(FigureFile):
    """rows: label -> runs, a panel each, with a line for each weight of the history."""

    kind: Literal["weights"]
    rows: Rows


@dataclass(frozen=True)
class WeightsData(Data):
    """panels: labels of the rows; names: what is weighted; weighting: panel -> kind of weighting."""

    panels: tuple[str, ...]
    names: tuple[str, ...]
    weighting: dict[str, str]
    lines: tuple[Line, ...]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> WeightsData:
    """The weights that follow from the records.

    Raises ReportError for records that do not fit together.
    """
    found, notes = runs_of_rows(file.rows, stored, name)
    lines: list[Line] = []
    weighting = {}
    for panel, runs in found.items():
        records = [run.record for run in runs if run.record]
        names = dict.fromkeys(
            each for record in records for entry in record.history for each in entry.get("weights", {})
        )
        if not names:
            notes.append(f"Missing: {panel}: no weights in the history")
        for each in names:
            line, more = line_of(panel, each, records, f"weights.{each}")
            notes += more
            lines += [] if line is None else [line]
        weighting[panel] = str(records[0].experiment.get("weighting", {}).get("kind", "not recorded"))
    if lines:
        seeds = dict.fromkeys(f"{line.panel}: {seeds_text(line.seeds)}" for line in lines)
        notes.insert(0, f"Line: mean over seeds; band: from the lowest to the highest. {'; '.join(seeds)}.")
    used = outcomes(run for runs in found.values() for run in runs)
    names_shown = tuple(dict.fromkeys(line.label for line in lines))
    return WeightsData(tuple(notes), used, tuple(file.rows), names_shown, weighting, tuple(lines))


def draw(data: WeightsData) -> Figure:
    """A panel for each row."""
    if not data.lines:
        return nothing(data)
    shown = [panel for panel in data.panels if any(line.panel == panel for line in data.lines)]
    figure, grid = panels(len(shown), ACROSS, 1.9, share_y=True)
    for axes, panel in zip(grid, shown, strict=True):
        draw_lines(axes, [line for line in data.lines if line.panel == panel], data.names)
        kind = data.weighting[panel]
        axes.set_title(panel if panel == kind else f"{panel}: {kind}", fontsize=8)
        axes.set_xlabel("epoch", fontsize=7)
    grid[0].set_ylabel("weight")
    top = max(high for line in data.lines for high in line.high)
    grid[0].set_ylim(bottom=0, top=1.15 * top or 1)
    integers_below(grid)
    handles = {label: each for axes in grid for each, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles, frameon=False, fontsize=7, ncols=4, loc="outside upper left", handlelength=4
    )
    return with_notes(figure, data)
