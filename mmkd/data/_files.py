"""What sources that read files share: which files a split has, and their lines. No torch here."""

from __future__ import annotations

import codecs
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

from pydantic import Field, Strict, field_validator

from mmkd.config.section import Plugin
from mmkd.data import base
from mmkd.data.base import DataError, Split, path_below
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card

Files = str | Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]

LONGEST_LINE = 2**20
"""Bytes. A longer line is a broken line end or a file in a field, and no row."""

LONGEST_DOCUMENT = 2**29
"""Bytes of a file that is read as one value; as Python objects it takes some ten times as much memory."""

LONGEST_QUOTE = 80
"""Characters of a value that a message shows."""

PLAIN = '\n\r\t +,-./0123456789:;=?ABCXYZabcxyz_|"'
"""Characters that must be their ASCII bytes in every encoding of a file."""


class RowProblem(Exception):
    """What makes a row unusable. It is caught where the row is read, and becomes a Finding in the row's place."""

    def __init__(self, reason: str, field: str | None, message: str) -> None:
        """reason: a key of REASONS. message: what was found, and what was expected."""
        super().__init__(reason, field, message)
        self.reason, self.field, self.message = reason, field, message


class FileConfig(Plugin):
    """splits: split -> path below the data root, or several, read one after the other.

    encoding: of the files, by Python's name for it; `utf-8-sig` skips a byte order mark. ASCII must be part of it:
    lines are told apart before they are decoded, which UTF-16 does not allow.
    """

    splits: Annotated[dict[Split, Files], Field(min_length=1)]
    encoding: str = "utf-8"

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            plain = PLAIN.encode(encoding).removeprefix(codecs.BOM_UTF8) == PLAIN.encode("ascii")
        except LookupError:
            plain = False
        if not plain:
            expected = "an encoding that ASCII is part of, like utf-8, latin-1 or cp1252"
            raise ValueError(f"found {encoding!r}; expected {expected}; convert the files")
        return codecs.lookup(encoding).name


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file. file: below the data root. number: from 1. raw: without its end, if it has one."""

    file: str
    number: int
    raw: bytes
    encoding: str
    end: bytes

    def text(self) -> str:
        """The line as text. Raises RowProblem when it is too long, or not in the encoding."""
        if len(self.raw) > LONGEST_LINE:
            raise RowProblem("row_too_long", None, f"found a line of more than {LONGEST_LINE:,} bytes; expected a row")
        try:
            return self.raw.decode(self.encoding)
        except UnicodeDecodeError as error:
            name = self.encoding.upper()
            message = f"found byte {error.start} that is not {name}; expected {name}, or another `encoding` in the card"
            raise RowProblem("row_not_utf8", None, message) from error


class FileSource(base.Source):
    """A source with files for each split, below the data root."""

    config: FileConfig

    def __init__(self, config: FileConfig, card: Card, root: Path | None) -> None:
        """root: may be None as long as nothing is read."""
        super().__init__(config, card, root)
        self.label_index = {
            name: {label: index for index, label in enumerate(task.labels)} for name, task in card.tasks.items()
        }

    def files(self, split: str) -> tuple[str, ...]:
        """The split's own files; none when the card's source has no such split."""
        named = {str(name): files for name, files in self.config.splits.items()}.get(split, ())
        return (named,) if isinstance(named, str) else named

    def fingerprint(self, split: str) -> str:
        """A sha256 of the files, the config, the code, and the tasks with their labels, which labels index into."""
        tasks = repr([(name, task.model_dump_json()) for name, task in sorted(self.card.tasks.items())])
        return hashlib.sha256(f"{super().fingerprint(split)} {tasks}".encode()).hexdigest()

    def path(self, name: str) -> Path:
        """Where a file of the card lies.

        Raises DataError when there is no data root, and for a name or a link that leads out of it.
        """
        if self.root is None:
            raise DataError(self.card.path, None, "files", f"MMKD_DATA is not set; expected the folder of {name}")
        return path_below(self.root, name, self.card.path)

    def open(self, name: str) -> IO[bytes]:
        """A file of the card, to read its bytes.

        Raises DataError when it cannot be opened.
        """
        path = self.path(name)
        try:
            return path.open("rb")
        except OSError as error:
            raise DataError(path, None, None, f"cannot be read: {error.strerror}; get the file again") from error

    def own_files(self, split: str) -> tuple[str, ...]:
        """The files with the split's rows.

        Raises DataError when the card's source has no such split.
        """
        found = FileSource.files(self, split)
        if not found:
            known = ", ".join(self.config.splits)
            raise DataError(self.card.path, None, "mmkd.source.splits", f"found no split {split!r}; expected {known}")
        return found

    def lines(self, split: str) -> Iterator[Line]:
        """The lines of a split's files.

        Raises DataError when the card has no such split, or a file is not there.
        """
        for name in self.own_files(split):
            yield from self.lines_of(name)

    def lines_of(self, name: str) -> Iterator[Line]:
        """The lines of one file. Only \\n ends a line: some texts hold other characters that Python takes for ends."""
        number = 0
        with self.open(name) as file:
            self._pass_mark(name, file)
            while raw := file.readline(LONGEST_LINE + len(b"\r\n")):
                number += 1
                content = raw.removesuffix(b"\n").removesuffix(b"\r")
                yield Line(name, number, content, self.encoding, raw[len(content) :])
                while raw and not raw.endswith(b"\n"):
                    raw = file.readline(LONGEST_LINE)  # the rest of a line that is too long

    def document(self, name: str) -> str:
        """A whole file as text.

        Raises DataError when it cannot be opened, is not in the encoding or has more than LONGEST_DOCUMENT bytes.
        """
        with self.open(name) as file:
            self._pass_mark(name, file)
            content = file.read(LONGEST_DOCUMENT + 1)
            if len(content) > LONGEST_DOCUMENT:
                message = f"found more than {LONGEST_DOCUMENT:,} bytes of one document; expected rows, a line each"
                raise DataError(self.path(name), None, None, message)
            try:
                return content.decode(self.encoding)
            except UnicodeDecodeError as error:
                message = f"found byte {error.start} that is not {self.encoding.upper()}; get the file again"
                raise DataError(self.path(name), None, None, message) from error

    @property
    def encoding(self) -> str:
        """Of the text that follows a byte order mark, if there is one."""
        return self.config.encoding.removesuffix("-sig")

    def _pass_mark(self, name: str, file: IO[bytes]) -> None:
        """Skip the byte order mark, which would otherwise become part of the first word or column."""
        if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
            file.seek(0)
        elif self.config.encoding != "utf-8-sig":
            message = f"found a byte order mark; expected none in {self.config.encoding}; set `encoding: utf-8-sig`"
            raise DataError(self.path(name), 1, None, message)


def finding(problem: RowProblem, split: str, file: str | None, row: int | None, name: str | None = None) -> Finding:
    """The finding that stands in a row's place. name: the row's id, where it is known."""
    message = problem.message.encode("utf-8", "backslashreplace").decode()  # a report is UTF-8; what it quotes may not
    return Finding(problem.reason, split, file, row, name, problem.field, message)


def shown(value: Any) -> str:
    """A value as JSON, for a message."""
    try:
        text = json.dumps(value, default=lambda other: f"<{type(other).__name__}>", ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        text = f"<{type(value).__name__}>"
    return shortened(text)


def shortened(text: str) -> str:
    """A text for a message, cut where it is long."""
    return text if len(text) <= LONGEST_QUOTE else f"{text[:LONGEST_QUOTE]}..."
