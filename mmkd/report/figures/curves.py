"""Learning curves: numbers of the history, epoch by epoch, as the mean over seeds in a band from lowest to highest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmkd.report.figures._lines import Line, Over, draw_lines, line_of
from mmkd.report.figures.base import Data, FigureFile, Rows, nothing, outcomes, runs_of_rows, seeds_text, with_notes
from mmkd.report.plot_style import integers_below, panels
from mmkd.report.records import StoredRecord
from mmkd.report.table_file import Key, Label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ACROSS = 2


class File(FigureFile):
    """rows: label -> runs, a line each. curves: label -> key of the history, a panel each: `mean_score` (on
    validation), `validation.TASK.METRIC`, `terms.NAME`. over: what stands below: `epochs`, or `rows`, thousands read so
    far, which lets runs with epochs of different sizes be compared.
    """

    kind: Literal["curves"]
    rows: Rows
    curves: Annotated[dict[Label, Key], Field(min_length=1)]
    over: Over = "epochs"


@dataclass(frozen=True)
class CurvesData(Data):
    """panels: labels of the curves; labels: of the rows; both in the order shown."""

    over: Over
    panels: tuple[str, ...]
    labels: tuple[str, ...]
    lines: tuple[Line, ...]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> CurvesData:
    """The curves that follow from the records.

    Raises ReportError for records that do not fit together.
    """
    found, notes = runs_of_rows(file.rows, stored, name)
    lines = []
    for panel, path in file.curves.items():
        for label, runs in found.items():
            line, more = line_of(panel, label, [run.record for run in runs if run.record], path, file.over)
            notes += more
            lines += [] if line is None else [line]
    if lines:
        seeds = dict.fromkeys(f"{line.label}: {seeds_text(line.seeds)}" for line in lines)
        notes.insert(0, f"Line: mean over seeds; band: from the lowest to the highest. {'; '.join(seeds)}.")
    used = outcomes(run for runs in found.values() for run in runs)
    return CurvesData(tuple(notes), used, file.over, tuple(file.curves), tuple(file.rows), tuple(lines))


def draw(data: CurvesData) -> Figure:
    """A panel for each curve."""
    if not data.lines:
        return nothing(data)
    shown = [panel for panel in data.panels if any(line.panel == panel for line in data.lines)]
    figure, grid = panels(len(shown), ACROSS, 1.9)
    for axes, panel in zip(grid, shown, strict=True):
        draw_lines(axes, [line for line in data.lines if line.panel == panel], data.labels)
        axes.set_title(panel, fontsize=8)
        axes.set_xlabel("epoch" if data.over == "epochs" else "rows read, thousands", fontsize=7)
    if data.over == "epochs":
        integers_below(grid)
    handles = {label: each for axes in grid for each, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(
        handles.values(), handles, frameon=False, fontsize=7, ncols=4, loc="outside upper left", handlelength=4
    )
    return with_notes(figure, data)
