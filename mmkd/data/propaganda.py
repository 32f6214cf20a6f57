"""`propaganda`: memes with persuasion techniques, and where in the text they stand (Dimitrov and others, SemEval-2021
task 6, https://aclanthology.org/2021.semeval-1.7; the same and others, ACL 2021, https://aclanthology.org/2021.acl-long.516).

Rows are JSON Lines with a list of techniques, some of which only the image shows; a second file has, for the same ids,
spans of characters. Spans of different techniques overlap, which BIO cannot say: all become entities of one type,
`propaganda`, and spans that share a word become one entity. `technique` keeps the spans of one. No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from mmkd.config.problems import did_you_mean
from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row, shown
from mmkd.data._files import Line, RowProblem, Split, finding
from mmkd.data._json import parse
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source", "tags_of_spans"]

SPANS = "spans"
"""The column that the source adds: a BIO tag for each word."""

ZERO_WIDTH_SPACE = "\u200b"


class Config(ColumnsConfig):
    """Fields of the rows by name; the tags of the words are in the column `spans`.

    spans: split -> a JSON file, a list of objects with `id`, `text` and `labels`, which is a list of spans: `start` and
    `end` (in characters, from 0, the end excluded), `technique`, `text_fragment`. Those of no row are not read.
    technique: take the spans of this technique alone; null: of any.
    """

    kind: Literal["propaganda"] = "propaganda"
    id: str
    text: str
    spans: Annotated[dict[Split, str], Field(min_length=1)]
    technique: str | None = None


class Source(ColumnsSource):
    """Reads one object a line, and joins the spans by id. A `transfer` split needs none."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when no task lists the techniques, or not `technique`, or a split lacks its spans."""
        super().__init__(config, card, root)
        readers = [reader for reader in self._labels_of.values() if reader.task.kind == "multilabel"]
        self._techniques = {technique for reader in readers for technique in reader.known}
        if not self._techniques:
            message = "found no task of the kind multilabel; expected one, whose labels are the techniques"
            raise DataError(card.path, None, "mmkd.tasks", message)
        if config.technique not in {None, *self._techniques}:
            hint = did_you_mean(str(config.technique), self._techniques)
            message = f"found {config.technique!r}; expected one of {', '.join(sorted(self._techniques))}{hint}"
            raise DataError(card.path, None, "mmkd.source.technique", message)
        lacking = sorted(set(config.splits) - set(config.spans) - {"transfer"})
        if lacking:
            message = f"found no file for {', '.join(lacking)}; expected one for each split with labels"
            raise DataError(card.path, None, "mmkd.source.spans", message)

    def files(self, split: str) -> tuple[str, ...]:
        """The split's own files, its images, and its spans."""
        return (*super().files(split), *self._span_files(split))

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """One row a line, with the tags of its words.

        Raises DataError for a file of spans that cannot be read.
        """
        annotated: dict[str, list[dict[str, Any]]] = {}
        for file in self._span_files(split):
            annotated = self._annotated(file)
        for line in self.lines(split):
            name = None
            try:
                row = Row(line.file, line.number, _object(line))
                name = row.text(self.config.id)
                if split != "transfer" and name is not None and name.strip():
                    tags = self._tags(row.text(self.config.text) or "", annotated.get(name, []))
                    row = replace(row, values={**row.values, SPANS: tags})
                yield row
            except RowProblem as problem:
                yield finding(problem, split, line.file, line.number, name)

    def _span_files(self, split: str) -> list[str]:
        return [file for name, file in self.config.spans.items() if name == split]

    def _annotated(self, file: str) -> dict[str, list[dict[str, Any]]]:
        """Id -> the objects with that id in a file of spans, which should be one."""
        path = self.path(file)
        try:
            entries = parse(self.document(file))
        except ValueError as error:
            raise DataError(path, None, None, f"{error}; expected JSON") from error
        if not isinstance(entries, list):
            raise DataError(path, None, None, f"found {shown(entries)}; expected a list of objects")
        found: dict[str, list[dict[str, Any]]] = {}
        for number, entry in enumerate(entries):
            name = entry.get("id") if isinstance(entry, dict) else None
            if not isinstance(name, str):
                raise DataError(path, None, f"[{number}]", f"found {shown(entry)}; expected an object with an `id`")
            found.setdefault(name, []).append(entry)
        return found

    def _tags(self, text: str, entries: list[dict[str, Any]]) -> list[str]:
        if len(entries) != 1:
            reason = "id_repeated" if entries else "column_missing"
            raise RowProblem(reason, SPANS, f"found {len(entries)} objects with spans and this id; expected one")
        (entry,) = entries
        if entry.get("text") != text:
            message = f"found spans of the text {shown(entry.get('text'))}; expected those of {shown(text)}"
            raise RowProblem("label_unknown", SPANS, message)
        if not isinstance(entry.get("labels"), list):
            raise RowProblem("column_type", SPANS, f"found {shown(entry.get('labels'))}; expected a list of spans")
        spans = [(span, self._place(span, text)) for span in entry["labels"]]
        return tags_of_spans(text, [p for span, p in spans if self.config.technique in (None, span["technique"])])

    def _place(self, span: Any, text: str) -> tuple[int, int]:
        """First character and the one after the last. Raises RowProblem for a span that is none of this text."""
        try:
            start, end, technique, fragment = (span[key] for key in ("start", "end", "technique", "text_fragment"))
            start, end = int(start), int(end)
        except (TypeError, KeyError, ValueError) as error:
            message = f"found {shown(span)}; expected `start`, `end`, `technique` and `text_fragment`"
            raise RowProblem("column_type", SPANS, message) from error
        if not isinstance(technique, str) or technique not in self._techniques:
            hint = did_you_mean(str(technique), self._techniques)
            raise RowProblem("label_unknown", SPANS, f"found {technique!r}; expected a technique of the card{hint}")
        if not 0 <= start < end <= len(text):
            message = f"found a span from {start} to {end}; expected one within the text's {len(text)} characters"
            raise RowProblem("label_unknown", SPANS, message)
        if not _same_words(text, (start, end), str(fragment)):
            message = f"found {shown(text[start:end])} from {start} to {end}; expected {shown(fragment)}"
            raise RowProblem("label_unknown", SPANS, message)
        return start, end


def tags_of_spans(text: str, spans: Iterable[tuple[int, int]]) -> list[str]:
    """BIO tags of the words of a text, of one type.

    spans: first character and the one after the last, in any order. A word belongs to a span when they share a
    character. Spans that share a word become one entity; spans that only touch stay two.
    """
    words = _words(text)
    tags = ["O"] * len(words)
    end = 0
    for first, after in sorted(_covered(words, span) for span in spans):
        for word in range(max(first, end), after):
            tags[word] = "B-propaganda" if word == first else "I-propaganda"
        end = max(end, after)
    return tags


def _words(text: str) -> list[tuple[int, int]]:
    """First character of each word, and the one after its last: the words of `str.split`."""
    return [word.span() for word in re.finditer(r"\S+", text)]


def _covered(words: list[tuple[int, int]], span: tuple[int, int]) -> tuple[int, int]:
    """First word of a span, and the one after its last."""
    first = sum(end <= span[0] for _, end in words)
    return first, sum(start < span[1] for start, _ in words)


def _same_words(text: str, span: tuple[int, int], fragment: str) -> bool:
    """Whether a span covers the words of the fragment that it was made for, each in whole or in part.

    Places that are off by a character or two, as after a zero-width space that was taken out, can cover the same words.
    """
    words = _words(text)
    first, after = _covered(words, span)
    covered = [text[start:end].replace(ZERO_WIDTH_SPACE, "") for start, end in words[first:after]]
    expected = fragment.replace(ZERO_WIDTH_SPACE, "").split()
    covered = [word for word in covered if word]
    return len(covered) == len(expected) and all(part in word for part, word in zip(expected, covered, strict=True))


def _object(line: Line) -> dict[str, Any]:
    try:
        values = parse(line.text())
    except ValueError as error:
        raise RowProblem("row_unreadable", None, f"{error}; expected one JSON object on the line") from error
    if not isinstance(values, dict):
        raise RowProblem("row_unreadable", None, "found no JSON object; expected one on the line")
    return values
