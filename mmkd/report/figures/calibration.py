"""Whether a network is as often right as it is sure: reliability diagram (Guo et al. 2017, 1706.04599), with counts.

The bins and the expected calibration error are those of the score `ece` of tasks over classes: equal bins of the
largest probability, each closed on the right; the error is the mean over examples of |accuracy - confidence| of their
bin.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import Field

from mmkd.config.experiment import Name
from mmkd.report.error import ReportError
from mmkd.report.figures._predictions import read_predictions, without_predictions
from mmkd.report.figures.base import Data, FigureFile, Rows, nothing, outcomes, runs_of_rows, seeds_text, with_notes
from mmkd.report.plot_style import BLACK, BLUE, GREY, WIDTH
from mmkd.report.records import StoredRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class File(FigureFile):
    """rows: label -> runs, a column each. task: over classes of examples. bins: of the confidence."""

    kind: Literal["calibration"]
    rows: Annotated[Rows, Field(max_length=4)]
    task: Name
    bins: Annotated[int, Field(ge=2, le=50)] = 15


@dataclass(frozen=True)
class Bin:
    """One bin of the confidence, over the examples of all seeds. n: of them; confidence, accuracy: their means."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Panel:
    """One row. ece: seed -> expected calibration error. bins: those that hold examples."""

    row: str
    ece: dict[str, float]
    bins: tuple[Bin, ...]


@dataclass(frozen=True)
class CalibrationData(Data):
    """task: what is predicted."""

    task: str
    panels: tuple[Panel, ...]


def data(file: File, stored: Sequence[StoredRecord], name: str) -> CalibrationData:
    """The bins that follow from the predictions beside the records.

    Raises ReportError for records that do not fit together, or a task without probabilities of examples.
    """
    found, notes = runs_of_rows(file.rows, stored, name)
    shown, used, splits = [], list[StoredRecord](), dict[str, None]()
    for row, runs in found.items():
        sure, right, ece = [], [], {}
        for run in runs:
            own = None if without_predictions(run) else read_predictions(run, file.task)
            assert run.record is not None
            if own is None:
                notes.append(f"Missing: {row}, seed {run.record.seed}: no predictions of `{file.task}`")
                continue
            if own.probabilities is None:
                raise ReportError(f"figure {name}: `{file.task}` is over words, whose probabilities are not kept")
            sure.append(own.probabilities.max(1).astype(np.float64))
            right.append(own.probabilities.argmax(1) == own.labels)
            ece[str(run.record.seed)] = calibration_error(sure[-1], right[-1], file.bins)
            used.append(run)
            splits[run.record.predicted_split] = None
        if ece:
            shown.append(Panel(row, ece, bins_of(np.concatenate(sure), np.concatenate(right), file.bins)))
    if shown:
        read = "; ".join(f"{panel.row}: {seeds_text([int(seed) for seed in panel.ece])}" for panel in shown)
        notes.insert(
            0,
            f"{', '.join(splits).capitalize()} rows of all seeds in {file.bins} bins by the largest probability; bars "
            "below: examples in each bin. ECE: mean over seeds (lowest to highest). "
            f"{read}.",
        )
    return CalibrationData(tuple(notes), outcomes(used), file.task, tuple(shown))


def place_of(confidence: np.ndarray, bins: int) -> np.ndarray:
    """The bin of each confidence [N]."""
    return np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)


def bins_of(confidence: np.ndarray, right: np.ndarray, bins: int) -> tuple[Bin, ...]:
    """The bins that hold examples. confidence, right: [N]."""
    place = place_of(confidence, bins)
    found = []
    for each in range(bins):
        own = place == each
        if own.any():
            means = float(confidence[own].mean()), float(right[own].mean())
            found.append(Bin(each / bins, (each + 1) / bins, int(own.sum()), *means))
    return tuple(found)


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int) -> float:
    """Mean over examples of |accuracy - confidence| of their bin. confidence, right: [N]."""
    gaps = [each.n * abs(each.accuracy - each.confidence) for each in bins_of(confidence, right, bins)]
    return sum(gaps) / len(confidence)


def draw(data: CalibrationData) -> Figure:
    """For each row accuracy against confidence, and below it how many examples there are."""
    if not data.panels:
        return nothing(data)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
    grid = figure.subplots(2, len(data.panels), squeeze=False, sharex=True, height_ratios=(3, 1))
    for place, panel in enumerate(data.panels):
        _reliability(grid[0][place], panel)
        grid[0][place].set_title(f"{panel.row}: {data.task}", fontsize=8)
        width = min(each.high - each.low for each in panel.bins)
        grid[1][place].bar(
            [each.low for each in panel.bins], [each.n for each in panel.bins], 0.92 * width, align="edge", color=GREY
        )
        grid[1][place].set(xlabel="confidence", xlim=(0, 1), xticks=(0, 0.5, 1))
    grid[0][0].set_ylabel("accuracy")
    grid[1][0].set_ylabel("examples")
    return with_notes(figure, data)


def _reliability(axes: Axes, panel: Panel) -> None:
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle="--")
    most = max(each.n for each in panel.bins)
    for each in panel.bins:
        axes.plot([each.confidence] * 2, [each.confidence, each.accuracy], color=BLUE, linewidth=1, alpha=0.6)
    sizes = [6 + 44 * each.n / most for each in panel.bins]
    axes.scatter(
        [b.confidence for b in panel.bins],
        [b.accuracy for b in panel.bins],
        s=sizes,
        color=BLUE,
        zorder=3,
        clip_on=False,
    )
    errors = list(panel.ece.values())
    text = f"ECE {fmean(errors):.3f}"
    if len(errors) > 1:
        text += f"\n({min(errors):.3f} to {max(errors):.3f})"
    axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=7, color=BLACK)
    axes.set_ylim(0, 1)
