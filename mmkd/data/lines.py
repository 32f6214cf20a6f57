"""`lines`: text files with a row a line, whose columns stand in the line by a pattern, or in files side by side.

No torch here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import zip_longest
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row
from mmkd.data._files import Line, RowProblem, finding, shown
from mmkd.data.base import DataError, Split
from mmkd.data.findings import Finding

__all__ = ["Config", "Source"]


class Config(ColumnsConfig):
    """The form of the lines.

    pattern: a regular expression of the whole line, whose named groups are the columns; by default the line is the
    column `text`. beside: column -> split -> a file with that column's value on each line, in the same order.
    """

    kind: Literal["lines"] = "lines"
    pattern: str = "(?P<text>.*)"
    beside: dict[str, Annotated[dict[Split, str], Field(min_length=1)]] = {}

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"found no regular expression: {error}") from error
        if not groups:
            raise ValueError("expected at least one named group, `(?P<text>...)`, for a column")
        return pattern

    @model_validator(mode="after")
    def _each_column_once(self) -> Self:
        twice = sorted(set(re.compile(self.pattern).groupindex) & set(self.beside))
        if twice:
            raise ValueError(f"found the column {twice[0]!r} in `pattern` and in `beside`; expected each once")
        return self


class Source(ColumnsSource):
    """Reads one row a line."""

    config: Config

    def files(self, split: str) -> tuple[str, ...]:
        """The split's own files and those beside them."""
        return (*super().files(split), *self._beside(split).values())

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """One row a line.

        Raises DataError for a column that is nowhere, and when files side by side have not as many lines.
        """
        pattern, beside = re.compile(self.config.pattern, re.DOTALL), self._beside(split)
        self.require(self.card.path, (*pattern.groupindex, *beside), split)
        for lines in zip_longest(self.lines(split), *(self.lines_of(name) for name in beside.values())):
            if None in lines:
                names = ", ".join((*self.own_files(split), *beside.values()))
                message = f"the files {names} have not as many lines; expected a line in each for every row"
                raise DataError(self.card.path, None, "mmkd.source.beside", message)
            yield self._row(split, pattern, lines[0], dict(zip(beside, lines[1:], strict=True)))

    def _row(self, split: str, pattern: re.Pattern[str], line: Line, beside: dict[str, Line]) -> Row | Finding:
        at = line
        try:
            values: dict[str, str | None] = self._matched(pattern, line)
            for column, at in beside.items():
                values[column] = at.text()
        except RowProblem as problem:
            return finding(problem, split, at.file, at.number)
        return Row(line.file, line.number, values)

    def _matched(self, pattern: re.Pattern[str], line: Line) -> dict[str, str | None]:
        found = pattern.fullmatch(line.text())
        if found is None:
            message = f"found {shown(line.text())}; expected a line of the card's pattern {pattern.pattern}"
            raise RowProblem("row_unreadable", None, message)
        return found.groupdict()

    def _beside(self, split: str) -> dict[str, str]:
        named = {column: {str(s): file for s, file in files.items()} for column, files in self.config.beside.items()}
        return {column: files[split] for column, files in named.items() if split in files}
