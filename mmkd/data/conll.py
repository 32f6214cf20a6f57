"""`conll`: one word a line with its tag in a column, blank lines between sentences (Tjong Kim Sang and De Meulder,
CoNLL 2003, https://aclanthology.org/W03-0419). Tags are given as BIO. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmkd.config.problems import did_you_mean
from mmkd.config.section import Names
from mmkd.data._files import FileConfig, FileSource
from mmkd.data.base import DataError, Example

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source", "to_bio"]


class Config(FileConfig):
    """The form of the files.

    task: the card's one task. token, tag: columns, counted from 0. separator: between columns.
    skip: lines that start with one of these are no words and end a sentence (`-DOCSTART-`, `IMGID:`).
    scheme: `bio`, or `io`, where entities have no B- tags; entities that touch are then one.
    repair: a bio file's I- tag that continues no entity starts one; false: it is an error.
    """

    kind: Literal["conll"] = "conll"
    task: str
    token: Annotated[int, Field(ge=0)] = 0
    tag: Annotated[int, Field(ge=0)] = 1
    separator: Annotated[str, Field(min_length=1)] = "\t"
    skip: Names = ()
    scheme: Literal["bio", "io"] = "bio"
    repair: bool = False


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its tag as written, and its line."""

    line: int
    text: str
    tag: str


class Source(FileSource):
    """Reads the sentences in the order of the file. Ids are `<split>-<n>`, n from 0. `transfer` gets no labels."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when the card does not have the one task, of the kind tag, that the config names."""
        super().__init__(config, card, root)
        if list(card.tasks) != [config.task] or card.tasks[config.task].kind != "tag":
            found = ", ".join(f"{name} ({task.kind})" for name, task in card.tasks.items())
            message = f"the card has {found or 'no tasks'}; expected one task of the kind tag, named {config.task}"
            raise DataError(card.path, None, "mmkd.source.task", message)

    def read(self, split: str) -> Iterator[Example]:
        """Yield the sentences of a split.

        Raises DataError naming file and line for a line that cannot be used as the card says.
        """
        path = self.split_path(split)
        for number, words in enumerate(self._sentences(split)):
            labels = {} if split == "transfer" else {self.config.task: self._labels(path, words)}
            yield Example(f"{split}-{number}", tuple(word.text for word in words), None, labels)

    def _sentences(self, split: str) -> Iterator[list[Word]]:
        columns: int | None = None
        words: list[Word] = []
        for number, line in self.lines(split):
            if not line.strip() or line.startswith(self.config.skip):
                if words:
                    yield words
                words = []
                continue
            cells = line.split(self.config.separator)
            columns = columns or max(len(cells), self.config.token + 1, self.config.tag + 1)
            if len(cells) != columns or not cells[self.config.token].strip(" \t"):
                found = f"found {line!r}"
                message = f"{found}; expected {columns} columns, the word in column {self.config.token}"
                raise DataError(self.split_path(split), number, None, message)
            words.append(Word(number, cells[self.config.token], cells[self.config.tag]))
        if words:
            yield words

    def _labels(self, path: Path, words: list[Word]) -> tuple[int, ...]:
        known = self.label_index[self.config.task]
        tags = [word.tag for word in words]
        bio = to_bio(tags)
        for word, fixed in zip(words, bio, strict=True):
            if self.config.scheme == "io" and word.tag.startswith("B-"):
                raise self._error(path, word, "expected O and I- tags in an io file; set `scheme: bio`")
            if fixed not in known:
                raise self._error(path, word, f"expected one of {', '.join(known)}{did_you_mean(word.tag, known)}")
            if self.config.scheme == "bio" and not self.config.repair and fixed != word.tag:
                raise self._error(
                    path, word, f"expected it to continue such an entity, or {fixed}; or set `repair: true`"
                )
        return tuple(known[tag] for tag in bio)

    def _error(self, path: Path, word: Word, message: str) -> DataError:
        return DataError(path, word.line, self.config.task, f"found the tag {word.tag!r} at {word.text!r}; {message}")


def to_bio(tags: list[str]) -> list[str]:
    """BIO tags of a sentence: an I- tag that does not continue an entity of its type becomes a B- tag."""
    return [
        f"B-{tag[2:]}" if tag.startswith("I-") and before not in (tag, f"B-{tag[2:]}") else tag
        for before, tag in zip(["O", *tags], tags, strict=False)
    ]
