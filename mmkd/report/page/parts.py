"""Pieces that our HTML pages share: a figure as SVG, something to unfold, plain data as YAML. No torch here."""

from __future__ import annotations

from html import escape
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from mmkd.report.plot_style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def svg(figure: Figure, title: str) -> str:
    """A figure as SVG text that can stand in a page. title: escaped."""
    import matplotlib

    data = BytesIO()
    with matplotlib.rc_context(STYLE):
        figure.savefig(data, format="svg", metadata={"Date": None, "Creator": None})
    text = data.getvalue().decode("utf-8")
    drawn = text[text.index("<svg") :]
    return drawn.replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)


def unfolds(summary: str, content: str, is_open: bool = False) -> str:
    """HTML that is seen once its summary is clicked, or until then. summary: plain text."""
    return f"<details{' open' if is_open else ''}><summary>{escape(summary)}</summary>{content}</details>"


def yaml_block(plain: Any, summary: str = "show") -> str:
    """Plain data as YAML to unfold. summary: plain text."""
    from ruamel.yaml import YAML

    text = StringIO()
    YAML().dump(plain, text)
    return unfolds(summary, f"<pre>{escape(text.getvalue())}</pre>")
