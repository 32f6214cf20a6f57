"""`conll`: one word a line with its tag in a column, blank lines between sentences (Tjong Kim Sang and De Meulder,
CoNLL 2003, https://aclanthology.org/W03-0419). Tags are given as BIO. No torch here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
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
    """The form of the files. All lines have as many columns as most of the first thousand.

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
    """The lines of a sentence. row: of its first word. name: the line with its id; document: counted from 0."""

    file: str
    row: int
    name: Line | None
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
        columns = self._columns(split)
        seen: dict[str, int] = {}
        for number, sentence in enumerate(self._sentences(split)):
            name = None
            try:
                name = self._name(sentence, f"{split}-{number}")
                if name in seen:
                    message = f"found {name!r}, which line {seen[name]} has too; expected an id of its own"
                    raise RowProblem("id_repeated", self.config.id, message)
                seen[name] = sentence.row
                found: Example | Finding = self._example(name, sentence, columns, split)
            except _InLine as problem:
                found = finding(problem, split, sentence.file, problem.line, name)
            except RowProblem as problem:
                found = finding(problem, split, sentence.file, sentence.row, name)
            yield found

    def _example(self, name: str, sentence: Sentence, columns: int, split: str) -> Example:
        if not sentence.lines:
            raise RowProblem("row_empty", self.config.id, "found an id without words; expected words after it")
        words = [self._word(line, columns) for line in sentence.lines]
        labels: dict[str, Label] = {} if split == "transfer" else {self.config.task: self._tags(words)}
        group = None if self.config.document is None else f"{sentence.file}#{sentence.document}"
        return Example(name, tuple(word.text for word in words), None, labels, group, sentence.file, sentence.row)

    def _name(self, sentence: Sentence, numbered: str) -> str:
        """The sentence's id. Raises RowProblem when the config says where ids stand and there is none."""
        if self.config.id is None:
            return numbered
        try:
            name = "" if sentence.name is None else sentence.name.text()[len(self.config.id) :].strip()
        except RowProblem as problem:
            raise RowProblem(problem.reason, self.config.id, problem.message) from problem
        if not name:
            message = f"found no id; expected a line with {self.config.id!r} and an id before the sentence"
            raise RowProblem("id_missing", self.config.id, message)
        return name

    def _sentences(self, split: str) -> Iterator[Sentence]:
        """The sentences; one without lines for an id that no word follows."""
        skip, name_mark, document_mark = self._marks()
        current: Sentence | None = None
        document = 0
        for line in self.lines(split):
            if current is not None and line.file != current.file:
                yield current
                current = None
            named = line.raw.startswith(name_mark)
            if line.raw.strip() and not named and not line.raw.startswith(skip):
                if current is None or not current.lines:
                    current = Sentence(line.file, line.number, None if current is None else current.name, document)
                current.lines.append(line)
                continue
            if current is not None and (current.lines or named):
                yield current
                current = None
            document += line.raw.startswith(document_mark)
            if named:
                current = Sentence(line.file, line.number, line, document)
        if current is not None:
            yield current

    def _marks(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...]]:
        """What begins a line that is no word, that has an id, that begins a document."""
        name, document = ([each] if each is not None else [] for each in (self.config.id, self.config.document))
        marks = ((*self.config.skip, *name, *document), name, document)
        skip, names, documents = (tuple(mark.encode(self.encoding) for mark in each) for each in marks)
        return skip, names, documents

    def _columns(self, split: str) -> int:
        """As many as most lines have: the first line may be the one that is wrong."""
        lines = (line for sentence in self._sentences(split) for line in sentence.lines)
        separator = self.config.separator.encode(self.encoding)
        counts = Counter(line.raw.count(separator) + 1 for line in islice(lines, 1000))
        usual = counts.most_common(1)[0][0] if counts else 0
        return max(usual, self.config.token + 1, self.config.tag + 1)

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
