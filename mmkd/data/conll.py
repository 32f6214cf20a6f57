"""`conll`: one word a line with its tag in a column, blank lines between sentences (Tjong Kim Sang and De Meulder,
CoNLL 2003, https://aclanthology.org/W03-0419). Tags are given as BIO. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmkd.config.problems import did_you_mean
from mmkd.config.section import Names
from mmkd.data._files import FileConfig, FileSource, Line, RowProblem, finding
from mmkd.data._labels import to_bio
from mmkd.data.base import DataError, Example, Label
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source"]


class Config(FileConfig):
    """The form of the files.

    task: the card's one task. token, tag: columns, counted from 0. separator: between columns.
    skip: lines that start with one of these are no words and end a sentence (`-DOCSTART-`).
    id: lines that start with this are no words, end a sentence and hold the next one's id after it (`IMGID:`).
    document: lines that start with this begin a document, whose sentences are one group (`-DOCSTART-`).
    scheme: `bio`, or `io`, where entities have no B- tags; entities that touch are then one.
    repair: a bio file's I- tag that continues no entity starts one; false: it is an error.
    """

    kind: Literal["conll"] = "conll"
    task: str
    token: Annotated[int, Field(ge=0)] = 0
    tag: Annotated[int, Field(ge=0)] = 1
    separator: Annotated[str, Field(min_length=1)] = "\t"
    skip: Names = ()
    id: Annotated[str, Field(min_length=1)] | None = None
    document: Annotated[str, Field(min_length=1)] | None = None
    scheme: Literal["bio", "io"] = "bio"
    repair: bool = False


@dataclass
class Sentence:
    """The lines of a sentence. row: of its first line. name: from the line with its id; document: counted from 0."""

    file: str
    row: int
    name: str | None
    document: int
    lines: list[Line] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its tag as written, and its line."""

    line: int
    text: str
    tag: str


class Source(FileSource):
    """Reads the sentences in the order of the files. Ids are `<split>-<n>`, n from 0. `transfer` gets no labels."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when the card does not have the one task, of the kind tag, that the config names."""
        super().__init__(config, card, root)
        if list(card.tasks) != [config.task] or card.tasks[config.task].kind != "tag":
            found = ", ".join(f"{name} ({task.kind})" for name, task in card.tasks.items())
            message = f"the card has {found or 'no tasks'}; expected one task of the kind tag, named {config.task}"
            raise DataError(card.path, None, "mmkd.source.task", message)

    def read(self, split: str) -> Iterator[Example | Finding]:
        """Yield the sentences of a split."""
        columns: int | None = None
        seen: dict[str, int] = {}
        for number, sentence in enumerate(self._sentences(split)):
            name = f"{split}-{number}" if sentence.name is None else sentence.name
            try:
                if name in seen:
                    message = f"found {name!r}, which line {seen[name]} has too; expected an id of its own"
                    raise RowProblem("id_repeated", self.config.id, message)
                seen[name] = sentence.row
                if columns is None:
                    columns = self._columns(sentence)
                words = [self._word(line, columns) for line in sentence.lines]
                labels: dict[str, Label] = {} if split == "transfer" else {self.config.task: self._tags(words)}
            except _InLine as problem:
                yield finding(problem, split, sentence.file, problem.line, name)
            except RowProblem as problem:
                yield finding(problem, split, sentence.file, sentence.row, name)
            else:
                group = None if self.config.document is None else f"{sentence.file}#{sentence.document}"
                texts = tuple(word.text for word in words)
                yield Example(name, texts, None, labels, group, sentence.file, sentence.row)

    def _sentences(self, split: str) -> Iterator[Sentence]:
        marks = {mark: mark.encode(self.config.encoding) for mark in (*self.config.skip,)}
        name_mark = self.config.id and self.config.id.encode(self.config.encoding)
        document_mark = self.config.document and self.config.document.encode(self.config.encoding)
        current, name, document, file = None, None, 0, None
        for line in self.lines(split):
            if line.file != file:
                if current is not None:
                    yield current
                current, name, document, file = None, None, 0, line.file
            begins = document_mark is not None and line.raw.startswith(document_mark)
            named = name_mark is not None and line.raw.startswith(name_mark)
            if begins or named or not line.raw.strip() or line.raw.startswith(tuple(marks.values())):
                if current is not None:
                    yield current
                    current, name = None, None
                document += begins
                if named and name_mark is not None:
                    name = line.raw[len(name_mark) :].decode(self.config.encoding, "replace").strip()
                continue
            if current is None:
                current = Sentence(line.file, line.number, name, document)
            current.lines.append(line)
        if current is not None:
            yield current

    def _columns(self, sentence: Sentence) -> int:
        cells = len(sentence.lines[0].text().split(self.config.separator))
        return max(cells, self.config.token + 1, self.config.tag + 1)

    def _word(self, line: Line, columns: int) -> Word:
        try:
            text = line.text()
        except RowProblem as problem:
            raise _InLine(line.number, problem.reason, problem.field, problem.message) from problem
        cells = text.split(self.config.separator)
        if len(cells) != columns or not cells[self.config.token].strip(" \t"):
            message = f"found {text!r}; expected {columns} columns, the word in column {self.config.token}"
            raise _InLine(line.number, "row_unreadable", None, message)
        return Word(line.number, cells[self.config.token], cells[self.config.tag])

    def _tags(self, words: list[Word]) -> tuple[int, ...]:
        known = self.label_index[self.config.task]
        bio = to_bio([word.tag for word in words])
        for word, fixed in zip(words, bio, strict=True):
            if self.config.scheme == "io" and word.tag.startswith("B-"):
                raise self._wrong("label_bio", word, "expected O and I- tags in an io file; set `scheme: bio`")
            if fixed not in known:
                hint = did_you_mean(word.tag, known)
                raise self._wrong("label_unknown", word, f"expected one of {', '.join(known)}{hint}")
            if self.config.scheme == "bio" and not self.config.repair and fixed != word.tag:
                advice = f"expected it to continue such an entity, or {fixed}; or set `repair: true`"
                raise self._wrong("label_bio", word, advice)
        return tuple(known[tag] for tag in bio)

    def _wrong(self, reason: str, word: Word, message: str) -> _InLine:
        found = f"found the tag {word.tag!r} at {word.text!r}"
        return _InLine(word.line, reason, self.config.task, f"{found}; {message}")


class _InLine(RowProblem):
    """A problem of one line of a sentence."""

    def __init__(self, line: int, reason: str, field: str | None, message: str) -> None:
        super().__init__(reason, field, message)
        self.line = line
