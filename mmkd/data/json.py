"""`json`: one JSON document of many rows: a list of objects, or an object of objects whose keys are ids.

Numbers keep the digits that the file has. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row
from mmkd.data._files import RowProblem, finding, shown
from mmkd.data._json import Doubled, parse_document
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

__all__ = ["Config", "Source"]

KEY = "key"


class Config(ColumnsConfig):
    """Fields of the objects by name; `key` is the object's own key in an object of objects.

    each: a field with a list of objects; each of them is a row, with the other fields of the object around it and
    its own fields, which are called `<each>.<field>`; `<each>.number` counts them from 0. An empty list has no rows.
    """

    kind: Literal["json"] = "json"
    each: str | None = None


class Source(ColumnsSource):
    """Reads one object after the other. A row's number is the object's place, from 1."""

    config: Config

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """The rows of all files.

        Raises DataError for a file that is no such document.
        """
        for name in self.own_files(split):
            for number, parts in enumerate(self._objects(name), start=1):
                try:
                    for row in self._rows_of(parts):
                        yield Row(name, number, row)
                except RowProblem as problem:
                    yield finding(problem, split, name, number)

    def _objects(self, name: str) -> list[tuple[Any, ...]]:
        """The parts of each object: its key, where it has one, and its fields."""
        text = self.document(name)
        try:
            document = parse_document(text)
        except ValueError as error:
            raise DataError(self.path(name), None, None, f"{error}; expected one JSON document") from error
        if isinstance(document, list):
            return [(each,) for each in document]
        if isinstance(document, dict | Doubled):
            pairs = document.pairs if isinstance(document, Doubled) else document.items()
            return [({KEY: key}, each) for key, each in pairs]
        raise DataError(self.path(name), None, None, "found neither a list nor an object; expected one of them")

    def _rows_of(self, parts: tuple[Any, ...]) -> list[dict[str, Any]]:
        values = _joined(parts)
        if self.config.each is None:
            return [values]
        inner = values.get(self.config.each)
        if not isinstance(inner, list):
            raise RowProblem("column_type", self.config.each, "found no list of objects; expected one")
        return [
            _joined((values, {f"{self.config.each}.number": str(number)}, self._prefixed(each)))
            for number, each in enumerate(inner)
        ]

    def _prefixed(self, part: Any) -> Any:
        return {f"{self.config.each}.{name}": value for name, value in part.items()} if isinstance(part, dict) else part


def _joined(parts: tuple[Any, ...]) -> dict[str, Any]:
    """One object of several. Raises RowProblem for what is no object, and for a field that would hide another."""
    joined: dict[str, Any] = {}
    for part in parts:
        if isinstance(part, Doubled):
            raise RowProblem("row_unreadable", None, f"{part.message}; expected each once")
        if not isinstance(part, dict):
            raise RowProblem("row_unreadable", None, f"found {shown(part)}; expected an object")
        twice = sorted(joined.keys() & part.keys())
        if twice:
            message = f"found the field {twice[0]!r}, which has that name's value already; expected another name"
            raise RowProblem("row_unreadable", twice[0], message)
        joined |= part
    return joined
