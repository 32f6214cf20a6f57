"""A grid of numbers around 0, in colours from orange (below) over white to blue (above), each number written in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mmkd.report.plot_style import BLACK, BLUE, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def heat(
    axes: Axes,
    values: Sequence[Sequence[float | None]],
    texts: Sequence[Sequence[str]],
    rows: Sequence[str],
    columns: Sequence[str],
    limit: float,
) -> None:
    """Draw it. values: None is left grey. limit: the size of a value that has the full colour."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("around_zero", [ORANGE, "#ffffff", BLUE]).with_extremes(bad="#e6e6e6")
    numbers = [[float("nan") if value is None else value for value in line] for line in values]
    axes.imshow(numbers, cmap=colours, vmin=-limit, vmax=limit, aspect="auto")
    written(axes, values, texts, limit)
    edges(axes, rows, columns)


def written(axes: Axes, values: Sequence[Sequence[float | None]], texts: Sequence[Sequence[str]], limit: float) -> None:
    """The texts of a grid, white where the colour below is dark."""
    for y, line in enumerate(texts):
        for x, text in enumerate(line):
            value = values[y][x]
            dark = value is not None and abs(value) > 0.6 * limit
            axes.text(x, y, text, ha="center", va="center", fontsize=7, color="white" if dark else BLACK)


def edges(axes: Axes, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Labels around a grid, and nothing else."""
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
