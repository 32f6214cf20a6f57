"""`csv`: tables of text with a separator (RFC 4180), with images in a zip archive or a folder.

Every cell is text: nothing is read as a number or as missing but what the card says. No torch here.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmkd.config.section import Names
from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row
from mmkd.data._files import LONGEST_LINE, RowProblem, finding
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

__all__ = ["Config", "Source"]


class Config(ColumnsConfig):
    """The form of the tables.

    separator: between cells, one character. quote: around cells that hold a separator, a quote (doubled) or a line
    end; null: quotes are plain text, as in most files with tabs. header: whether the first line names the columns.
    columns: their names instead of the header's; needed when there is no header.
    """

    kind: Literal["csv"] = "csv"
    separator: Annotated[str, Field(min_length=1, max_length=1)] = ","
    quote: Annotated[str, Field(min_length=1, max_length=1)] | None = '"'
    header: bool = True
    columns: Names | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if not self.header and self.columns is None:
            raise ValueError("expected `columns`, since the files have no header")
        return self


class Source(ColumnsSource):
    """Reads one row after the other; a row has as many cells as there are columns."""

    config: Config

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """The rows of all files. A row's number is that of its first line; lines without anything are none.

        Raises DataError for a file without its header, or with a column named twice.
        """
        for name in self.own_files(split):
            yield from self._rows_of(name, split)

    def _rows_of(self, name: str, split: str) -> Iterator[Row | Finding]:
        reader = self._reader(name)
        columns: tuple[str, ...] | None = None if self.config.header else self.config.columns
        while True:
            number = reader.line_num + 1
            try:
                cells = next(reader)
                self._refuse_bytes(cells)
            except StopIteration:
                break
            except (RowProblem, csv.Error) as error:
                problem = error if isinstance(error, RowProblem) else RowProblem("row_unreadable", None, str(error))
                yield finding(problem, split, name, number)
                continue
            if columns is None:
                columns = self.config.columns or tuple(cells)
                self._check_columns(name, columns, cells)
            elif not cells:
                continue
            elif len(cells) != len(columns):
                message = f"found {len(cells)} cells; expected {len(columns)}: {', '.join(columns)}"
                yield finding(RowProblem("row_unreadable", None, message), split, name, number)
            else:
                yield Row(name, number, dict(zip(columns, cells, strict=True)))
        if columns is None:
            raise DataError(self.path(name), None, None, "found no line; expected a header")

    def _reader(self, name: str) -> csv._reader:
        """Python's reader over the decoded lines; bytes that are no text come through as half surrogates."""
        csv.field_size_limit(LONGEST_LINE)
        lines = (line.raw[: LONGEST_LINE + 1].decode(line.encoding, "surrogateescape") + "\n" for line in self.lines_of(name))
        if self.config.quote is None:
            return csv.reader(lines, delimiter=self.config.separator, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(lines, delimiter=self.config.separator, quotechar=self.config.quote, strict=True)

    def _refuse_bytes(self, cells: list[str]) -> None:
        if any("\udc80" <= character <= "\udcff" for cell in cells if not cell.isascii() for character in cell):
            raise RowProblem("row_not_utf8", None, f"found bytes that are not {self.config.encoding}")

    def _check_columns(self, name: str, columns: tuple[str, ...], cells: list[str]) -> None:
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice or len(columns) != len(cells):
            found = f"found the columns {', '.join(cells)}"
            message = f"{found}; expected each once, or as many names in the card's `columns`"
            raise DataError(self.path(name), 1, None, message)
