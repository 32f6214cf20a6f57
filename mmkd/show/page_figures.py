"""Figures of the statistics page as SVG text: histograms and image sizes, drawn with what HTML has, no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 300, 150, 38, 22, 8
"""Of a figure, and of its margins, in the units of its viewBox."""


def number(value: float) -> str:
    """For an axis or a table: thousands marked, four digits where it is no whole number."""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def bars(counts: Sequence[int], edges: Sequence[float], width: float, open_end: bool, top: float, title: str) -> str:
    """A histogram as shares of all counts. edges, width: of the bins; top: the share at the axis' upper end."""
    whole = sum(counts)
    step = (WIDTH - LEFT - 2) / len(counts)
    drawn = []
    for place, count in enumerate(counts):
        height = (HEIGHT - TOP - BOTTOM) * count / whole / top
        end = "and more" if open_end and place == len(counts) - 1 else f"to below {number(edges[place] + width)}"
        tip = f"{number(edges[place])} {end}: {count:,} rows"
        drawn.append(
            f'<rect x="{LEFT + place * step:.1f}" y="{HEIGHT - BOTTOM - height:.1f}" width="{step * 0.92:.1f}" '
            f'height="{height:.1f}"><title>{escape(tip)}</title></rect>'
        )
    last = f"≥ {number(edges[-1])}" if open_end else number(edges[-1] + width)
    ends = _below(LEFT, "start", number(edges[0])) + _below(WIDTH, "end", last)
    return _figure(title, _frame(f"{100 * top:.0f}%", "0%") + "".join(drawn) + ends)


def dots(sizes: Sequence[tuple[int, int, int]], widest: int, highest: int, title: str) -> str:
    """Image sizes: a dot for each, of an area that grows with the images of it. widest, highest: ends of the axes."""
    most = max(images for _, _, images in sizes)
    drawn = []
    for width, height, images in sizes:
        x = LEFT + 6 + (WIDTH - LEFT - 14) * width / widest
        y = HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * height / highest
        radius = max(1.2, 6 * (images / most) ** 0.5)
        tip = f"{width} × {height} pixels: {images:,} images"
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"><title>{tip}</title></circle>')
    ends = _below(LEFT, "start", "0") + _below(WIDTH, "end", f"{widest:,} wide")
    return _figure(title, _frame(f"{highest:,}", "0") + "".join(drawn) + ends)


def _figure(title: str, drawn: str) -> str:
    view = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}"'
    return f"<figure><figcaption>{escape(title)}</figcaption><svg {view}>{drawn}</svg></figure>"


def _frame(top: str, bottom: str) -> str:
    base, left = HEIGHT - BOTTOM, LEFT - 4
    axis = f'<path d="M{LEFT} {TOP}V{base}H{WIDTH}"/>'
    high = f'<text x="{left}" y="{TOP + 8}" text-anchor="end">{escape(top)}</text>'
    low = f'<text x="{left}" y="{base}" text-anchor="end">{escape(bottom)}</text>'
    return axis + high + low


def _below(x: float, anchor: str, text: str) -> str:
    return f'<text x="{x}" y="{HEIGHT - 6}" text-anchor="{anchor}">{escape(text)}</text>'
