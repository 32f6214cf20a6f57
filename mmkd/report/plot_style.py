"""How every figure of ours looks: sizes, colours that all eyes can tell apart, and marks that tell series without them.

matplotlib is imported where a figure is drawn. No torch here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "text.parse_math": False,  # a name with two dollars is a name
    "svg.hashsalt": "mmkd",  # the same drawing is the same file
    "svg.fonttype": "none",
    "pdf.fonttype": 42,  # letters stay letters
    "figure.dpi": 150,
}
BLUE, ORANGE, GREEN, PURPLE, SKY, GREY, BLACK = (
    *("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"),
    *("#999999", "#222222"),
)
"""Colours that people with any sort of colour vision can tell apart (Okabe and Ito)."""
SERIES = (
    *((BLUE, "o", "-"), (ORANGE, "s", "--"), (GREEN, "^", "-."), (PURPLE, "D", ":")),
    *((SKY, "v", (0, (5, 1))), (BLACK, "x", (0, (1, 1)))),
)
"""Colour, mark and line of each series in turn: in a grey print the last two tell them apart."""
WIDTH = 6.3
"""Inches: the text width of a page."""


def one(height: float) -> tuple[Figure, Axes]:
    """A figure of one panel, as wide as a page. height: inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def panels(number: int, across: int, height: float, share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """A figure of several panels, at most `across` beside one another. height: of each, in inches."""
    from matplotlib.figure import Figure

    across = min(across, number)
    down = -(-number // across)
    figure = Figure(figsize=(WIDTH, height * down), layout="constrained")
    grid = list(figure.subplots(down, across, squeeze=False, sharey=share_y).flatten())
    for axes in grid[number:]:
        axes.set_visible(False)
    return figure, grid[:number]


def integers_below(grid: Sequence[Axes]) -> None:
    """Whole numbers alone on the horizontal axes."""
    from matplotlib.ticker import MaxNLocator

    for axes in grid:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def logarithmic_below(axes: Axes) -> None:
    """A logarithmic horizontal axis with plain numbers, since what stands between dollars is no formula here.

    Called after the drawing: where it spans few powers of ten, numbers between them are written, too.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high < 100 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high > 5 * low else range(1, 10)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())


def series(place: int) -> tuple[str, str, Any]:
    """Colour, mark and line of the series at this place."""
    return SERIES[place % len(SERIES)]
