"""The statistics of a data set as one HTML page that needs nothing else: no script, no font, no file, no network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from mmkd.data.card import Card
from mmkd.data.findings import REASONS
from mmkd.show.page_figures import bars, dots, number
from mmkd.show.spread import Histogram, Spread
from mmkd.show.statistics import LabelPair, Statistics, TaskStatistics

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
svg rect, svg circle { fill: var(--mark); }
svg circle { fill-opacity: .45; }
svg path { fill: none; stroke: var(--grey); }
svg text { fill: var(--grey); font-size: 11px; }
@media print {
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  h2, h3 { break-after: avoid; }
  table, figure { break-inside: avoid; }
}
"""

Rows = Iterable[tuple[str, Sequence[str]]]


def page(card: Card, statistics: Statistics) -> str:
    """The HTML text. What the data set does not have (images, findings, a second task) has no section."""
    title = escape(card.about.pretty_name)
    sections = [
        ("Rows", _rows(statistics)),
        ("Labels", _labels(statistics)),
        ("Labels together", "".join(_pair(card, pair) for pair in statistics.pairs)),
        ("Words", _words(statistics)),
        ("Typical words", _typical(statistics)),
        ("Images", _images(statistics)),
        ("Findings", _findings(statistics)),
    ]
    body = "".join(f"<section><h2>{name}</h2>{content}</section>\n" for name, content in sections if content)
    text = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n<style>{STYLE}</style>\n</head>\n'
        f"<body>\n<header><h1>{title}</h1>{_about(card)}</header>\n{body}</body>\n</html>\n"
    )
    # A word may hold half of a UTF-16 pair, which no file in UTF-8 can hold.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _about(card: Card) -> str:
    name = (card.about.model_extra or {}).get("license_name")
    licence = card.about.license + (f" ({name})" if name else "")
    languages = ", ".join(card.about.language)
    facts = [f"Card {card.path.name}", f"licence {licence}", *([f"language {languages}"] if languages else [])]
    return f'<p class="note">{escape(" · ".join(facts))}</p>'


def _rows(statistics: Statistics) -> str:
    def cells(split: str) -> list[str]:
        whole = statistics.rows[split]
        return [f"{whole:,}", *(_share(count, whole) for count in statistics.modalities[split].values())]

    head = ("split", "rows", "text and image", "text alone", "image alone")
    return _table(head, ((split, cells(split)) for split in statistics.rows))


def _labels(statistics: Statistics) -> str:
    return "".join(_task(name, task, statistics.rows) for name, task in statistics.tasks.items())


def _task(name: str, task: TaskStatistics, rows: Mapping[str, int]) -> str:
    what = {"tag": "entities, and their share of all entities", "regress": "values"}
    note = f"{task.kind}: {what.get(task.kind, 'rows, and their share of labelled rows')}"
    title = f"<h3>{escape(name)} <small>{note}</small></h3>"
    if task.kind == "regress":
        figures = "" if task.histogram is None else _histograms(task.histogram)
        return title + _spreads(task.values) + figures
    labels = list(next(iter(task.counts.values()), {}))
    table: list[tuple[str, list[str]]] = []
    for label in labels:
        shares = {split: task.shares[split][label] if task.labelled[split] else None for split in task.counts}
        table.append((label, [_bar(task.counts[split][label], share) for split, share in shares.items()]))
    missing = {split: rows[split] - task.labelled[split] for split in rows}
    if any(missing.values()):
        table.append(("(no label)", [f"{count:,}" if count else "–" for count in missing.values()]))
    return title + _table(("", *task.counts), table)


def _pair(card: Card, pair: LabelPair) -> str:
    across, whole = card.tasks[pair.second].labels, sum(map(sum, pair.counts))
    note = f"{whole:,} rows of all splits; bars: shares of a line"
    title = f"<h3>{escape(pair.first)} (down) and {escape(pair.second)} (across) <small>{note}</small></h3>"
    lines = zip(card.tasks[pair.first].labels, pair.counts, strict=True)
    table = ((label, [_bar(count, count / sum(line) if sum(line) else 0.0) for count in line]) for label, line in lines)
    return title + _table(("", *across), table)


def _words(statistics: Statistics) -> str:
    if statistics.word_histogram is None:
        return ""
    head = ("split", "words", "different words", "words that train lacks", "different words that train lacks")
    lines = [
        (split, [f"{each.words:,}", f"{each.types:,}", _percent(each.new_words), _percent(each.new_types)])
        for split, each in statistics.vocabulary.items()
    ]
    note = "In lower case and without punctuation at the edges of words; words of punctuation alone do not count."
    return (
        "<h3>Words of a row that has any <small>as the source splits them</small></h3>"
        + _spreads(statistics.words)
        + _histograms(statistics.word_histogram)
        + f'<h3>Vocabulary</h3><p class="note">{note}</p>'
        + _table(head, lines)
    )


def _typical(statistics: Statistics) -> str:
    tables = []
    for task, labels in statistics.typical.items():
        if not any(labels.values()):
            continue
        typical = {label: "".join(_word(each.word, each.z) for each in words) for label, words in labels.items()}
        lines = [(label, [words or "–"]) for label, words in typical.items()]
        tables.append(f"<h3>{escape(task)}</h3>" + _table(("label", "words"), lines, "words"))
    note = (
        "Training rows that have the word, against those that have not, with this label and with the others: log odds "
        "ratio over its standard error, beside the word. Below about 4 it may well be chance, among so many words."
    )
    return f'<p class="note">{note}</p>' + "".join(tables) if tables else ""


def _images(statistics: Statistics) -> str:
    if not statistics.images:
        return ""
    lines, figures = [], []
    read = {split: each for split, each in statistics.images.items() if each.sizes}
    widest = max((width for each in read.values() for width, _, _ in each.sizes), default=0)
    highest = max((height for each in read.values() for _, height, _ in each.sizes), default=0)
    for split, each in statistics.images.items():
        spreads = [_ends(each.width), _ends(each.height), _ends(each.bytes)]
        lines.append((split, [f"{each.all:,}", f"{each.looked_at:,}", f"{each.unreadable:,}", *spreads]))
    if len({size[:2] for each in read.values() for size in each.sizes}) > 1:
        figures = [dots(each.sizes, widest, highest, f"{split}: width and height") for split, each in read.items()]
    head = ("split", "images", "looked at", "unreadable", "width", "height", "bytes of a file")
    note = "Smallest – median – largest, of the images that were looked at; pixels."
    grid = f'<div class="figures">{"".join(figures)}</div>' if figures else ""
    return f'<p class="note">{note}</p>' + _table(head, lines) + grid


def _findings(statistics: Statistics) -> str:
    if statistics.findings is None:
        return ""
    found = statistics.findings
    named = [reason for reason in REASONS if any(reason in counts for counts in found.values())]
    if not named:
        return "<p>The checks found nothing.</p>"
    lines = []
    for reason in named:
        counts = [f"{found[split].get(reason, 0):,}" for split in found]
        lines.append((reason, [*counts, escape(REASONS[reason].meaning)]))
    return _table(("reason", *found, "meaning"), lines, "findings")


def _spreads(spreads: Mapping[str, Spread]) -> str:
    head = ("split", "n", "mean", "median", "95th percentile", "smallest", "largest")
    lines = []
    for split, each in spreads.items():
        values = (each.n, each.mean, each.median, each.percentile_95, each.smallest, each.largest)
        lines.append((split, [number(value) for value in values]))
    return _table(head, lines)


def _histograms(histogram: Histogram) -> str:
    filled = {split: counts for split, counts in histogram.counts.items() if sum(counts)}
    top = max(max(counts) / sum(counts) for counts in filled.values())
    figures = (
        bars(counts, histogram.edges, histogram.width, histogram.open_end, top, f"{split}: share of rows")
        for split, counts in filled.items()
    )
    return f'<div class="figures">{"".join(figures)}</div>'


def _table(head: Sequence[str], lines: Rows, kind: str = "") -> str:
    """head and the first cell of a line are plain text, the other cells are HTML (a whole `<td>`, or its content)."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(cell if cell.startswith("<td") else f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, cells in lines
    )
    return f'<div class="wide"><table class="{kind}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _bar(count: int, share: float | None) -> str:
    if share is None:
        return "–"
    return f'<td class="share" style="--share:{share:.3f}">{count:,} <small>{100 * share:.1f}%</small></td>'


def _share(count: int, whole: int) -> str:
    return f"{count:,} <small>{_percent(count / whole)}</small>" if count else "–"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}%"


def _word(word: str, z: float) -> str:
    return f'<span class="word">{escape(word)} <small>{z:.1f}</small></span>'


def _ends(spread: Spread | None) -> str:
    if spread is None:
        return "–"
    if spread.smallest == spread.largest:
        return f"{number(spread.median)}"
    return " – ".join(number(value) for value in (spread.smallest, spread.median, spread.largest))
