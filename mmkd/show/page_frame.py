"""The frame of our HTML pages: one file that needs nothing else, no font, no script from elsewhere, no network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

STYLE = """
:root { --ink: #1a1a1a; --grey: #5c5c5c; --line: #d4d4d4; --bar: #c3dcf2; --mark: #2c6fad;
  --longest: clamp(1.5rem, 8vw, 6rem); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; color: var(--ink); background: #fff;
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; }
h2 { margin: 2.2rem 0 .5rem; padding-bottom: .2rem; border-bottom: 2px solid var(--ink); font-size: 1.15rem; }
h3 { margin: 1.2rem 0 .3rem; font-size: 1rem; }
h3 small, .note { color: var(--grey); font-size: .85rem; font-weight: normal; }
.note { margin: .3rem 0 .6rem; max-width: 48rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .22rem .7rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: baseline; }
th { font-weight: 600; white-space: nowrap; }
thead th { border-bottom: 1px solid var(--ink); }
th:first-child, .words td, .words th, .findings td:last-child, .findings th:last-child { text-align: left; }
td.share { padding-left: calc(var(--longest) + 1.2rem); white-space: nowrap;
  background: linear-gradient(var(--bar), var(--bar)) no-repeat .6rem / calc(var(--longest) * var(--share)) 62%; }
td small { color: var(--grey); font-size: .8rem; }
.share small { display: inline-block; width: 3.6em; color: var(--ink); }
.word { display: inline-block; margin-right: .9em; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .8rem; margin: .6rem 0; }
figure { margin: 0; max-width: 26rem; }
figcaption { font-size: .85rem; font-weight: 600; }
svg { display: block; width: 100%; height: auto; }
figure.plot { max-width: 46rem; margin: 1rem 0 1.6rem; }
figure:not(.plot) rect, figure:not(.plot) circle { fill: var(--mark); }
figure:not(.plot) circle { fill-opacity: .45; }
figure:not(.plot) path { fill: none; stroke: var(--grey); }
figure:not(.plot) text { fill: var(--grey); font-size: 11px; }
.trials td:not(:last-child) { white-space: nowrap; }
pre { margin: .3rem 0; padding: .5rem .7rem; background: #f4f4f4; white-space: pre-wrap; overflow-wrap: anywhere;
  font-size: .8rem; text-align: left; }
@media print {
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3 { break-after: avoid; }
  table, figure { break-inside: avoid; }
  .trials { break-inside: auto; font-size: 7pt; }
  .trials th, .trials td { padding: .1rem .25rem; }
  .trials th { white-space: normal; overflow-wrap: anywhere; }
  .trials td:last-child, .trials th:last-child { display: none; }
}
"""

Rows = Iterable[tuple[str, Sequence[str]]]


def html_page(title: str, about: str, sections: Iterable[tuple[str, str]], script: str = "", style: str = "") -> str:
    """A page. title: plain text. about: HTML below it. sections: heading -> HTML; one without content is left out.

    script, style: JavaScript and CSS of our own.
    """
    body = "".join(f"<section><h2>{escape(name)}</h2>{content}</section>\n" for name, content in sections if content)
    code = f"<script>{script}</script>\n" if script else ""
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}{style}</style>\n'
        f"</head>\n<body>\n<header><h1>{escape(title)}</h1>{about}</header>\n{body}{code}</body>\n</html>\n"
    )
    # A word may hold half of a UTF-16 pair, which no file in UTF-8 can hold.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def html_table(head: Sequence[str], lines: Rows, kind: str = "") -> str:
    """head and the first cell of a line are plain text, the other cells are HTML (a whole `<td>`, or its content)."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, cells in lines
    )
    return f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'
