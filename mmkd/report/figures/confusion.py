"""Which classes are taken for which: counts of label and prediction over all examples (or words) of all seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from mmkd.config.experiment import Name
from mmkd.config.section import Names
from mmkd.report.error import ReportError
from mmkd.report.figures._heat import edges
from mmkd.report.figures._predictions import read_predictions, without_predictions
from mmkd.report.figures.base import Data, FigureFile, Rows, nothing, outcomes, runs_of_rows, seeds_text, with_notes
from mmkd.report.plot_style import BLACK, BLUE, panels
from mmkd.report.records import StoredRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACROSS = 2


class File(FigureFile):
    """rows: label -> runs, a panel each. task: over classes. labels: names of the classes, in the order of the data
    set's card; without them they are numbered.
    """

    kind: Literal["confusion"]
    rows: Rows
    task: Name
    labels: Annotated[Names, Field(min_length=2)] | None = None


@dataclass(frozen=True)
class Panel:
    """One row. counts [K][K]: by label, then prediction, summed over the seeds."""

    row: str
    seeds: tuple[int, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class ConfusionData(Data):
    """classes: their names, in order."""

    task: str
    classes: tuple[str, ...]
    panels: tuple[Panel, ...]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> ConfusionData:
    """The counts that follow from the predictions beside the records.

    Raises ReportError for records that do not fit together, a task not over classes, or a number of names that is
    not that of the classes.
    """
    found, notes = runs_of_rows(file.rows, stored, name)
    pairs: dict[str, tuple[list[int], np.ndarray]] = {}
    classes, used, splits = 0, list[StoredRecord](), dict[str, None]()
    for row, runs in found.items():
        seeds, gathered = [], []
        for run in runs:
            own = None if without_predictions(run) else read_predictions(run, file.task)
            assert run.record is not None
            if own is None:
                notes.append(f"Missing: {row}, seed {run.record.seed}: no predictions of `{file.task}`")
                continue
            gathered.append(np.stack([own.labels, own.predicted]))
            seeds.append(run.record.seed)
            used.append(run)
            splits[run.record.predicted_split] = None
            known = 0 if own.probabilities is None else own.probabilities.shape[1]
            classes = max(classes, known, int(gathered[-1].max()) + 1)
        if gathered:
            pairs[row] = (seeds, np.concatenate(gathered, axis=1))
    if pairs and file.labels is not None and len(file.labels) != classes:
        raise ReportError(f"figure {name}: `labels` has {len(file.labels)} names; expected one for each of {classes}")
    shown = []
    for row, (seeds, (labels, predicted)) in pairs.items():
        counts = np.bincount(labels * classes + predicted, minlength=classes**2).reshape(classes, classes)
        shown.append(Panel(row, tuple(seeds), tuple(tuple(map(int, line)) for line in counts)))
    if shown:
        read = "; ".join(f"{panel.row}: {seeds_text(panel.seeds)}" for panel in shown)
        notes.insert(
            0,
            f"{', '.join(splits).capitalize()} rows; % of each label's row, below it the count over all seeds. {read}.",
        )
    names = file.labels or tuple(map(str, range(classes)))
    return ConfusionData(tuple(notes), outcomes(used), file.task, names, tuple(shown))


def draw(data: ConfusionData) -> Figure:
    """A square for each row, coloured by the share of each label's row."""
    if not data.panels:
        return nothing(data)
    figure, grid = panels(len(data.panels), ACROSS, 0.9 + 0.34 * max(4, len(data.classes)))
    for axes, panel in zip(grid, data.panels, strict=True):
        _square(axes, panel, data.classes)
        axes.set_title(f"{panel.row}: {data.task}", fontsize=8)
        axes.set_xlabel("predicted", fontsize=7)
    for axes in grid[::ACROSS]:
        axes.set_ylabel("label", fontsize=7)
    return with_notes(figure, data)


def _square(axes: Axes, panel: Panel, classes: Sequence[str]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    counts = np.array(panel.counts, dtype=np.float64)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap=LinearSegmentedColormap.from_list("share", ["#ffffff", BLUE]), vmin=0, vmax=1)
    for y, line in enumerate(panel.counts):
        for x, count in enumerate(line):
            colour = "white" if share[y, x] > 0.6 else BLACK
            text = f"{100 * share[y, x]:.0f}\n{count:,}" if len(classes) <= 8 else f"{100 * share[y, x]:.0f}"
            size = 7 if len(classes) <= 5 else 5
            axes.text(x, y, text if count else "0", ha="center", va="center", fontsize=size, color=colour)
    edges(axes, classes, classes)
    axes.tick_params(axis="both", labelsize=6)
    if max(map(len, classes)) * len(classes) > 30:
        axes.tick_params(axis="x", rotation=30)
