"""`csv`: tables of text with a separator (RFC 4180), with images in a zip archive or a folder.

Every cell is text: nothing is read as a number or as missing but what the card says. No torch here.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmkd.config.section import Names
from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row
from mmkd.data._files import LONGEST_LINE, Line, RowProblem, finding, shortened
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

__all__ = ["Config", "Source"]

Character = Annotated[str, Field(pattern=r"^[^\r\n]$")]


class Config(ColumnsConfig):
    """The form of the tables.

    separator: between cells, one character. quote: around cells that hold a separator, a quote (doubled) or a line
    end; null: quotes are plain text, as in most files with tabs. header: whether the first line names the columns.
    columns: their names instead of the header's, which can then have any cells; needed when there is no header.
    """

    kind: Literal["csv"] = "csv"
    separator: Character = ","
    quote: Character | None = '"'
    header: bool = True
    columns: Names | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.header and self.columns is None:
            raise ValueError("expected `columns`, since the files have no header")
        if self.quote == self.separator:
            raise ValueError("found the same character for `quote` and `separator`; expected two")
        return self


class Source(ColumnsSource):
    """Reads one row after the other; a row has as many cells as there are columns."""

    config: Config

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """The rows of all files. A row's number is that of its first line; lines without anything are none.

        Where a row is no CSV (a quote that is not closed, say), it is that line alone: reading goes on at the next one,
        so that the rows which the open quote would have swallowed are read.
        Raises DataError for a file without its header, or that lacks a column or has one twice.
        """
        for name in self.own_files(split):
            yield from self._rows_of(name, split)

    def _rows_of(self, name: str, split: str) -> Iterator[Row | Finding]:
        columns = None if self.config.header else self._checked(name, self.config.columns or (), None, split)
        for number, cells in self._records(name):
            if columns is None:
                if isinstance(cells, RowProblem):
                    raise DataError(self.path(name), number, None, f"{cells.message}; expected a header")
                columns = self._checked(name, self.config.columns or tuple(cells), number, split)
            elif isinstance(cells, RowProblem):
                yield finding(cells, split, name, number)
            elif len(cells) != len(columns):
                message = f"found {len(cells)} cells; expected {len(columns)}: {shortened(', '.join(columns))}"
                yield finding(RowProblem("row_unreadable", None, message), split, name, number)
            else:
                yield Row(name, number, dict(zip(columns, cells, strict=True)))
        if columns is None:
            raise DataError(self.path(name), None, None, "found no line; expected a header")

    def _checked(self, name: str, columns: tuple[str, ...], number: int | None, split: str) -> tuple[str, ...]:
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            message = f"found the column {twice[0]!r} twice; expected each once, or names in the card's `columns`"
            raise DataError(self.path(name), number, None, message)
        self.require(self.path(name), columns, split)
        return columns

    def _records(self, name: str) -> Iterator[tuple[int, list[str] | RowProblem]]:
        """The number of its first line and the cells of each row, or what is wrong with it."""
        feed = Feed(self.lines_of(name))
        csv.field_size_limit(max(csv.field_size_limit(), 2 * LONGEST_LINE))  # the feed's own limit comes before it
        separator, quote = self.config.separator, self.config.quote
        if quote is None:
            reader = csv.reader(feed, delimiter=separator, quoting=csv.QUOTE_NONE, strict=True)
        else:
            reader = csv.reader(feed, delimiter=separator, quotechar=quote, strict=True)
        while True:
            feed.begin()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (csv.Error, RowProblem) as error:
                said = error if isinstance(error, RowProblem) else RowProblem("row_unreadable", None, _said(error))
                yield feed.taken[0].number, said
                feed.give_back()
            else:
                if cells:
                    yield feed.taken[0].number, feed.not_text or cells


def _said(error: csv.Error) -> str:
    return f"{error}; expected cells, in which a quote that opens is closed"


class Feed:
    """Gives lines to Python's reader, and keeps those of the row at hand: an open quote takes lines that are others'.

    not_text: what is wrong with a line of the row that is not in the encoding; the row's end is found all the same.
    """

    def __init__(self, lines: Iterator[Line]) -> None:
        """lines: of one file."""
        self.lines = lines
        self.again: deque[Line] = deque()
        self.begin()

    def begin(self) -> None:
        """A row begins."""
        self.taken: list[Line] = []
        self.size = 0
        self.not_text: RowProblem | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        """The next line, with its end. Raises RowProblem when the row has more bytes than a row can have."""
        line = self.again.popleft() if self.again else next(self.lines)
        self.taken.append(line)
        self.size += len(line.raw)
        if self.size > LONGEST_LINE:
            message = f"found a row of more than {LONGEST_LINE:,} bytes; expected less, and quotes that are closed"
            raise RowProblem("row_too_long", None, message)
        try:
            text = line.text()
        except RowProblem as problem:
            self.not_text = problem
            text = line.raw.decode(line.encoding, "replace")
        return text + line.end.decode()

    def give_back(self) -> None:
        """All lines of the row at hand but the first come again."""
        self.again.extendleft(reversed(self.taken[1:]))
