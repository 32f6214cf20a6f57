"""A number of each epoch of several runs: mean and range over the seeds, and lines with a band. For curves, weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import fsum
from statistics import fmean
from typing import TYPE_CHECKING, Any, Literal

from mmkd.record import RunRecord
from mmkd.report.plot_style import series

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Over = Literal["epochs", "rows"]


@dataclass(frozen=True)
class Line:
    """One line of one panel. x: epochs as recorded, or thousands of rows read. low, high: lowest and highest seed."""

    panel: str
    label: str
    seeds: tuple[int, ...]
    x: tuple[float, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def number_at(entry: Mapping[str, Any], path: str) -> float | None:
    """The number at `a.b.c` of an epoch's entry in the history; None where it has none."""
    found: Any = entry
    for part in path.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def line_of(
    panel: str, label: str, records: Sequence[RunRecord], path: str, over: Over = "epochs"
) -> tuple[Line | None, list[str]]:
    """The line over the epochs that every run has, and notes on what is left out; None where a run lacks the number."""
    where, notes = f"{panel}, {label}" if panel else label, []
    values = [[number_at(entry, path) for entry in record.history] for record in records]
    lacking = [record.seed for record, own in zip(records, values, strict=True) if not own or None in own]
    if lacking:
        some = "some epochs of " if any(each is not None for own in values for each in own) else ""
        return None, [f"Missing: {where}: no `{path}` in the history of {some}seed {', '.join(map(str, lacking))}"]
    epochs = min(map(len, values))
    longer = [record.seed for record, own in zip(records, values, strict=True) if len(own) > epochs]
    if longer:
        notes.append(
            f"{where}: up to epoch {epochs - 1}, the last that all have; seed {', '.join(map(str, longer))} on"
        )
    places = [_places(record, over)[:epochs] for record in records]
    if any(each != places[0] for each in places):
        return None, [f"Missing: {where}: its runs read different numbers of rows in an epoch"]
    at = [[own[epoch] or 0.0 for own in values] for epoch in range(epochs)]
    seeds = tuple(record.seed for record in records)
    means, lows, highs = map(fmean, at), map(min, at), map(max, at)
    return Line(panel, label, seeds, tuple(places[0]), tuple(means), tuple(lows), tuple(highs)), notes


def _places(record: RunRecord, over: Over) -> list[float]:
    if over == "epochs":
        return [float(entry["epoch"]) for entry in record.history]
    read = [fsum(entry["rows"].values()) / 1000 for entry in record.history]
    return [fsum(read[: epoch + 1]) for epoch in range(len(read))]


def draw_lines(axes: Axes, lines: Sequence[Line], labels: Sequence[str]) -> None:
    """The lines of a panel, those of one label alike in all panels; equal lines stay apart by width and marks."""
    for line in lines:
        place = labels.index(line.label)
        colour, mark, dashes = series(place)
        every = max(1, len(line.x) // 10)
        axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.18, linewidth=0)
        axes.plot(
            line.x,
            line.mean,
            color=colour,
            linestyle=dashes,
            linewidth=1.2 + 2 * (1 - (place + 1) / len(labels)),
            marker=mark,
            markersize=3.5,
            markevery=(place * every // len(labels), every),
            label=line.label,
        )
