"""`json`: one JSON document of many rows: a list of objects, or an object of objects whose keys are ids.

Numbers keep the digits that the file has. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row
from mmkd.data._files import RowProblem, finding
from mmkd.data._json import parse
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

__all__ = ["Config", "Source"]

KEY = "key"


class Config(ColumnsConfig):
    """Fields of the objects by name; `key` is the object's own key in an object of objects.

    each: a field with a list of objects; each of them is a row, with the other fields of the object around it and
    its own fields, which are called `<each>.<field>`; `<each>.number` counts them from 0.
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
            for number, values in enumerate(self._objects(name), start=1):
                try:
                    for row in self._parts(values):
                        yield Row(name, number, row)
                except RowProblem as problem:
                    yield finding(problem, split, name, number)

    def _objects(self, name: str) -> list[Any]:
        with self.open(name) as file:
            try:
                document = parse(file.read().decode(self.config.encoding))
            except ValueError as error:
                message = f"{error}; expected one JSON document in {self.config.encoding}"
                raise DataError(self.path(name), None, None, message) from error
        if isinstance(document, dict):
            return [{KEY: key, **each} if isinstance(each, dict) else each for key, each in document.items()]
        if not isinstance(document, list):
            raise DataError(self.path(name), None, None, "found neither a list nor an object; expected one of them")
        return document

    def _parts(self, values: Any) -> Iterator[dict[str, Any]]:
        if not isinstance(values, dict):
            raise RowProblem("row_unreadable", None, "found no object; expected one for each row")
        if self.config.each is None:
            yield values
            return
        parts = values.get(self.config.each)
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise RowProblem("column_type", self.config.each, "found no list of objects; expected one")
        for number, part in enumerate(parts):
            own = {f"{self.config.each}.{field}": value for field, value in part.items()}
            yield {**values, **own, f"{self.config.each}.number": str(number)}
