"""Rows on which networks differ, in HTML: their text, image and label, and what each of the two networks says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mmkd.report.page.contents import Content
from mmkd.report.page.disagreement import Answer, Disagreement, Row, Said, tags
from mmkd.report.page.parts import unfolds
from mmkd.show.contact_sheet import COLOURS
from mmkd.show.label_names import Entity, entities
from mmkd.show.page_frame import html_table

MOST_WORDS = 80
STYLE = """
.examples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 19rem), 1fr)); gap: .8rem; }
.example { border: 1px solid var(--line); padding: .6rem .7rem; font-size: .88rem; break-inside: avoid; min-width: 0; }
.example .id { margin: 0 0 .3rem; color: var(--grey); font-size: .78rem; overflow-wrap: anywhere; }
.example img { display: block; max-width: 100%; min-width: 6rem; margin: 0 0 .4rem; border: 1px solid var(--line); }
.example .text { margin: 0 0 .4rem; overflow-wrap: anywhere; }
.example dl { display: grid; grid-template-columns: auto 1fr; gap: .15rem .6rem; margin: 0; }
.example dt { color: var(--grey); overflow-wrap: anywhere; }
.example dd { margin: 0; overflow-wrap: anywhere; }
.example .right { font-weight: 600; }
.right mark { font-weight: normal; }
mark { padding: .05em .25em; color: inherit; }
mark small { font-size: .7rem; }
"""


@dataclass(frozen=True)
class Pair:
    """Two networks whose predictions are compared. one, other: what each is called. split: of the rows.

    notes: what is not compared, or not shown, and why. licences: of the data sets whose rows are shown.
    """

    title: str
    one: str
    other: str
    split: str
    tasks: tuple[Disagreement, ...]
    contents: Mapping[str, Content]
    notes: tuple[str, ...]
    licences: tuple[str, ...]


def examples_section(pairs: Sequence[Pair]) -> str:
    """A block for each pair: how many rows differ, then the chosen ones by task, folded but for the first pair."""
    return warning(pairs) + "".join(_pair(each, is_open=place == 0) for place, each in enumerate(pairs))


def warning(pairs: Sequence[Pair]) -> str:
    """Whose rows the page holds; empty where it holds none."""
    found = dict.fromkeys(licence for each in pairs for licence in each.licences)
    if not found:
        return ""
    listed = "; ".join(found)
    return f'<p class="note"><b>Publish only as the licences allow:</b> this page holds rows of {escape(listed)}.</p>'


def _pair(pair: Pair, is_open: bool) -> str:
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in pair.notes)
    if not pair.tasks:
        return f"<h3>{escape(pair.title)}</h3>{notes}"
    head = ("", f"{pair.split} rows of both", "differ", f"{pair.one} right", f"{pair.other} right", "neither")
    lines = [(each.task, [f"{count:,}" for count in _counts(each)]) for each in pair.tasks]
    blocks = "".join(_task(each, pair) for each in pair.tasks if each.chosen)
    shown = unfolds(f"{sum(len(each.chosen) for each in pair.tasks)} of these rows", blocks, is_open) if blocks else ""
    return f"<h3>{escape(pair.title)}</h3>{notes}{html_table(head, lines)}{shown}"


def _counts(found: Disagreement) -> tuple[int, ...]:
    neither = found.differing - found.one_right - found.other_right
    return found.rows, found.differing, found.one_right, found.other_right, neither


def _task(found: Disagreement, pair: Pair) -> str:
    order = {
        "words": "those that differ in most entities first; right: all entities of the row",
        "value": "those whose values differ most first; right: the nearer",
    }.get(found.form, "those first of which both are most sure")
    shown = "".join(_example(row, found, pair) for row in found.chosen)
    return f'<h3>{escape(found.task)} <small>{order}</small></h3><div class="examples">{shown}</div>'


def _example(row: Row, found: Disagreement, pair: Pair) -> str:
    content = pair.contents.get(row.id)
    if content is not None and found.form == "words" and isinstance(row.gold, tuple):
        content = content if len(content.words) == len(row.gold) else None
    in_text = found.form == "words" and content is not None and len(content.words) <= MOST_WORDS
    lines = [
        *([] if in_text else [("label", _answer(row.gold, found, content), "")]),
        (pair.one, _said(row.one, found, content), "right" if row.right == "one" else ""),
        (pair.other, _said(row.other, found, content), "right" if row.right == "other" else ""),
    ]
    said = "".join(
        f'<dt>{escape(who)}</dt><dd class="{mark}">{what}{" ✓" if mark else ""}</dd>' for who, what, mark in lines
    )
    top = "" if content is None else _image(row.id, content) + _text(row.gold, found, content)
    return f'<article class="example"><p class="id">{escape(row.id)}</p>{top}<dl>{said}</dl></article>'


def _image(name: str, content: Content) -> str:
    if content.image is None:
        return ""
    if not content.image.startswith("data:"):
        return f'<p class="note">{escape(content.image)}</p>'
    return f'<img src="{escape(content.image)}" alt="image of {escape(name)}">'


def _text(gold: Answer, found: Disagreement, content: Content) -> str:
    """The words, up to MOST_WORDS, with the entities of the label marked."""
    if not content.words:
        return ""
    spans = _entities(gold, found)
    starts = {first: (kind, end) for kind, first, end in spans}
    shown, place = [], 0
    while place < min(len(content.words), MOST_WORDS):
        kind, end = starts.get(place, ("", place + 1))
        words = " ".join(content.words[place:end])
        shown.append(_marked(words, kind, found) if kind else escape(words))
        place = end
    rest = f" … ({len(content.words)} words)" if place < len(content.words) else ""
    return f'<p class="text" dir="auto">{" ".join(shown)}{rest}</p>'


def _said(said: Said, found: Disagreement, content: Content | None) -> str:
    sure = "" if said.probability is None else f" <small>{said.probability:.2f}</small>"
    return _answer(said.answer, found, content) + sure


def _answer(answer: Answer, found: Disagreement, content: Content | None) -> str:
    """What was answered: names of labels, a value, or entities by their words, or by their places without a text."""
    if not isinstance(answer, tuple):
        return f"{answer:.4g}"
    if found.form != "words":
        return escape(", ".join(_name(index, found) for index in answer)) or "none of the labels"
    if not found.labels:
        return escape(" ".join(map(str, answer)))
    return " ".join(_chips(answer, found, content)) or "no entity"


def _chips(answer: Answer, found: Disagreement, content: Content | None) -> Iterator[str]:
    for kind, first, end in _entities(answer, found):
        places = str(first + 1) if end == first + 1 else f"{first + 1}–{end}"
        words = f"word {places}" if content is None else " ".join(content.words[first:end])
        yield _marked(words, kind, found)


def _entities(answer: Answer, found: Disagreement) -> list[Entity]:
    if found.form != "words" or not found.labels or not isinstance(answer, tuple):
        return []
    return entities(tags(answer, found.labels))


def _marked(words: str, kind: str, found: Disagreement) -> str:
    types = list(dict.fromkeys(label[2:] for label in found.labels if label != "O"))
    colour = COLOURS[types.index(kind) % len(COLOURS)]
    return f'<mark style="background:{colour}">{escape(words)} <small>{escape(kind)}</small></mark>'


def _name(index: int, found: Disagreement) -> str:
    return found.labels[index] if found.labels else f"class {index}"
