"""`jsonl`: JSON Lines (https://jsonlines.org), one row a line, with images in a zip archive or a folder.

Ids, words and labels are text: numbers keep the digits that the file has. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row
from mmkd.data._files import RowProblem, finding
from mmkd.data._json import parse
from mmkd.data.findings import Finding

__all__ = ["Config", "Source"]


class Config(ColumnsConfig):
    """Fields of the objects by name."""

    kind: Literal["jsonl"] = "jsonl"


class Source(ColumnsSource):
    """Reads one object a line."""

    config: Config

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """One row a line; an empty line is no row that can be read."""
        for line in self.lines(split):
            try:
                values = parse(line.text())
                if not isinstance(values, dict):
                    raise ValueError("found no JSON object")
                yield Row(line.file, line.number, values)
            except RowProblem as problem:
                yield finding(problem, split, line.file, line.number)
            except ValueError as error:
                broken = RowProblem("row_unreadable", None, f"{error}; expected one JSON object on the line")
                yield finding(broken, split, line.file, line.number)
