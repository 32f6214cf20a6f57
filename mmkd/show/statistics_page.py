"""The statistics of a data set as one HTML page that needs nothing else: no script, no font, no file, no network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from mmkd.data.card import Card
from mmkd.data.findings import REASONS
from mmkd.show.page_figures import bars, dots, number
from mmkd.show.page_frame import html_page, html_table
from mmkd.show.spread import Histogram, Spread
from mmkd.show.statistics import LabelPair, Statistics, TaskStatistics


def page(card: Card, statistics: Statistics) -> str:
    """The HTML text. What the data set does not have (images, findings, a second task) has no section."""
    sections = [
        ("Rows", _rows(statistics)),
        ("Labels", _labels(statistics)),
        ("Labels together", "".join(_pair(card, pair) for pair in statistics.pairs)),
        ("Words", _words(statistics)),
        ("Typical words", _typical(statistics)),
        ("Images", _images(statistics)),
        ("Findings", _findings(statistics)),
    ]
    return html_page(card.about.pretty_name, _about(card), sections)


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
    return html_table(head, ((split, cells(split)) for split in statistics.rows))


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
    return title + html_table(("", *task.counts), table)


def _pair(card: Card, pair: LabelPair) -> str:
    across, whole = card.tasks[pair.second].labels, sum(map(sum, pair.counts))
    note = f"{whole:,} rows of all splits; bars: shares of a line"
    title = f"<h3>{escape(pair.first)} (down) and {escape(pair.second)} (across) <small>{note}</small></h3>"
    lines = zip(card.tasks[pair.first].labels, pair.counts, strict=True)
    table = ((label, [_bar(count, count / sum(line) if sum(line) else 0.0) for count in line]) for label, line in lines)
    return title + html_table(("", *across), table)


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
        + html_table(head, lines)
    )


def _typical(statistics: Statistics) -> str:
    tables = []
    for task, labels in statistics.typical.items():
        if not any(labels.values()):
            continue
        typical = {label: "".join(_word(each.word, each.z) for each in words) for label, words in labels.items()}
        lines = [(label, [words or "–"]) for label, words in typical.items()]
        tables.append(f"<h3>{escape(task)}</h3>" + html_table(("label", "words"), lines, "words"))
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
    return f'<p class="note">{note}</p>' + html_table(head, lines) + grid


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
    return html_table(("reason", *found, "meaning"), lines, "findings")


def _spreads(spreads: Mapping[str, Spread]) -> str:
    head = ("split", "n", "mean", "median", "95th percentile", "smallest", "largest")
    lines = []
    for split, each in spreads.items():
        values = (each.n, each.mean, each.median, each.percentile_95, each.smallest, each.largest)
        lines.append((split, [number(value) for value in values]))
    return html_table(head, lines)


def _histograms(histogram: Histogram) -> str:
    filled = {split: counts for split, counts in histogram.counts.items() if sum(counts)}
    top = max(max(counts) / sum(counts) for counts in filled.values())
    figures = (
        bars(counts, histogram.edges, histogram.width, histogram.open_end, top, f"{split}: share of rows")
        for split, counts in filled.items()
    )
    return f'<div class="figures">{"".join(figures)}</div>'


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
