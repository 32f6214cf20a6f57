"""The price chart of a `market_notes` row: candles with opening gaps, wicks, volume, grid and axes. Needs Pillow.

The style (colours, grid, widths, margins) is drawn without a look at the row, and rising candles get either of
two colours by a coin toss, so no colour stands for a label. The price axis always spans the same percentage, so
that volatility can be seen; the rare path that needs more is drawn to a smaller scale.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from mmkd.data._market_model import BARS, Floats

SPAN = 40.0
"""Height of the price panel, percent of price."""

GRID_STEP = 10.0
"""Distance of the grid lines, percent of price."""

WEEK = 5
"""Bars between two weekends; a weekend is an empty stretch of the time axis."""

WEEKEND = 0.5
"""Width of a weekend, in bars."""

Colour = tuple[int, int, int]

BACKGROUNDS: tuple[Colour, ...] = ((255, 255, 255), (247, 244, 236), (235, 240, 245), (240, 240, 240))
LINE: Colour = (40, 40, 40)
GRID: Colour = (216, 216, 216)
CANDLES: tuple[Colour, ...] = (
    (24, 130, 70),
    (200, 50, 50),
    (40, 90, 190),
    (200, 110, 10),
    (120, 60, 170),
    (0, 120, 130),
    (90, 90, 90),
)


@dataclass(frozen=True, slots=True)
class Style:
    """How one chart looks. Colours are RGB; `body`, `volume` and `margin` are shares of bar, height and side."""

    background: Colour
    rising: Colour
    falling: Colour
    hollow: bool
    levels: bool
    weeks: bool
    axes: bool
    body: float
    volume: float
    margin: float


def draw_style(generator: np.random.Generator) -> Style:
    """A style at random; all that it depends on is the generator."""
    background = BACKGROUNDS[int(generator.integers(len(BACKGROUNDS)))]
    first, second = (CANDLES[int(index)] for index in generator.permutation(len(CANDLES))[:2])
    return Style(
        background=background,
        rising=first,
        falling=second,
        hollow=bool(generator.random() < 0.3),
        levels=bool(generator.random() < 0.6),
        weeks=bool(generator.random() < 0.4),
        axes=bool(generator.random() < 0.6),
        body=float(generator.uniform(0.45, 0.8)),
        volume=float(generator.uniform(0.14, 0.22)),
        margin=float(generator.uniform(0.01, 0.04)),
    )


def render(steps: Floats, generator: np.random.Generator, pixels: int) -> Image.Image:
    """The RGB chart, `pixels` wide and high, of one path. steps: [BARS, 4], see `Rows`."""
    style = draw_style(generator)
    traded = volumes(steps, generator)
    image = Image.new("RGB", (pixels, pixels), style.background)
    pen = ImageDraw.Draw(image)
    edge = round(style.margin * pixels) + 1
    floor = pixels - edge - round(style.volume * pixels)
    opened, closed, top, bottom = prices(steps)
    span = max(SPAN, float(top.max() - bottom.min()))
    middle = (top.max() + bottom.min()) / 2.0

    def height(price: float) -> int:
        return round(edge + (0.5 - (price - middle) / span) * (floor - 2 - edge))

    slots = np.arange(BARS) + 0.5 + WEEKEND * (np.arange(BARS) // WEEK)
    bar = (pixels - 1 - 2 * edge) / (BARS + WEEKEND * ((BARS - 1) // WEEK))
    _draw_frame(pen, style, pixels, edge, floor, [height(level) for level in _levels(middle, span)], bar)
    half = max(1, round(bar * style.body) - 1) / 2.0
    for index, slot in enumerate(slots):
        centre = edge + slot * bar
        left, right, wick = round(centre - half), round(centre + half), round(centre)
        rises = closed[index] >= opened[index]
        colour = style.rising if rises else style.falling
        pen.line((wick, height(top[index]), wick, height(bottom[index])), fill=colour)
        box = (left, height(max(opened[index], closed[index])), right, height(min(opened[index], closed[index])))
        pen.rectangle(box, outline=colour, fill=style.background if style.hollow and rises else colour)
        ground = pixels - edge - 1
        pen.rectangle((left, ground - round(traded[index] * (ground - floor - 1)), right, ground), fill=colour)
    return image


def png(image: Image.Image) -> bytes:
    """The image as PNG, compressed lightly since speed matters more than size here."""
    target = io.BytesIO()
    image.save(target, "PNG", compress_level=1)
    return target.getvalue()


def prices(steps: Floats) -> tuple[Floats, Floats, Floats, Floats]:
    """Open, close, high and low of every bar, each [BARS], in percent of the first open. steps: [BARS, 4]."""
    gap, body, upper, lower = steps.T
    closed = np.cumsum(gap + body)
    opened = closed - body
    return opened, closed, np.maximum(opened, closed) + upper, np.minimum(opened, closed) - lower


def volumes(steps: Floats, generator: np.random.Generator) -> Floats:
    """[BARS] heights from 0 to 1: busy on days of large moves compared to the row's own, so they tell no new thing."""
    moves = np.abs(steps[:, 1]) / (np.abs(steps[:, 1]).mean() + 1e-9)
    traded = (0.5 + moves) * np.exp(0.35 * generator.standard_normal(BARS))
    return traded / traded.max()


def _levels(middle: float, span: float) -> Floats:
    first = np.ceil((middle - span / 2.0) / GRID_STEP)
    last = np.floor((middle + span / 2.0) / GRID_STEP)
    return GRID_STEP * np.arange(first, last + 1)


def _draw_frame(
    pen: ImageDraw.ImageDraw, style: Style, pixels: int, edge: int, floor: int, levels: list[int], bar: float
) -> None:
    far = pixels - 1 - edge
    if style.levels:
        for level in levels:
            pen.line((edge, level, far, level), fill=GRID)
    if style.weeks:
        for week in range(1, (BARS - 1) // WEEK + 1):
            at = round(edge + (week * (WEEK + WEEKEND) - WEEKEND / 2.0) * bar)
            pen.line((at, edge, at, far), fill=GRID)
    if style.axes:
        pen.line((edge - 1, edge, edge - 1, far, far, far), fill=LINE)
        pen.line((edge, floor, far, floor), fill=GRID)
