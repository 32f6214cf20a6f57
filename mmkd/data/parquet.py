"""`parquet`: Apache Parquet files (https://parquet.apache.org), with images in a column, an archive or a folder.

Numbers become the text that Python prints for them; text stays as it is. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row, as_text
from mmkd.data._files import RowProblem, finding
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source"]

ROWS_AT_ONCE = 1024
"""Rows that become Python values together."""


class Config(ColumnsConfig):
    """Columns by name. An image column holds bytes, or `{bytes, path}` as Hugging Face `datasets` writes images."""

    kind: Literal["parquet"] = "parquet"


class Source(ColumnsSource):
    """Reads one row group after the other. A row's number is its place in the file, from 1."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when the card's tasks and the columns of `labels` do not fit together."""
        super().__init__(config, card, root)
        self._groups = ImageGroups()

    def rows(self, split: str) -> Iterator[Row | Finding]:
        """The rows of all files.

        Raises DataError for a file that is no Parquet file or is damaged, or that lacks a column or has one twice.
        """
        import pyarrow as pa

        for name in self.own_files(split):
            try:
                yield from self._rows_of(name, split)
            except (OSError, OverflowError, ValueError, pa.ArrowException) as error:
                raise DataError(self.path(name), None, None, f"cannot be read as Parquet: {error}") from error

    def _rows_of(self, name: str, split: str) -> Iterator[Row | Finding]:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path(name)) as file:
            image = self._embedded(name, file.schema_arrow, split)
            columns = [column for column in self.needed(split) if column != image]
            number = 0
            for group in range(file.num_row_groups):
                has = None if image is None else self._groups.states(self.path(name), group, image)
                for place, values in enumerate(_values(file, group, columns)):
                    number += 1
                    if has is None or image is None:
                        yield Row(name, number, values)
                    elif has[place] == "elsewhere":
                        message = "found the path of an image without its bytes; expected the bytes"
                        yield finding(RowProblem("image_missing", image, message), split, name, number)
                    else:
                        read = partial(self._groups.image, self.path(name), group, image, place)
                        values[image] = read if has[place] == "here" else None
                        yield Row(name, number, values)

    def _embedded(self, name: str, schema: Any, split: str) -> str | None:
        """The column with the images themselves. Raises DataError when the columns are not those of the card."""
        names = schema.names
        twice = sorted({column for column in names if names.count(column) > 1})
        if twice:
            raise DataError(self.path(name), None, twice[0], "found the column twice; expected each once")
        self.require(self.path(name), names, split)
        image = self.config.image
        if image is None or not image.embedded:
            return None
        kind = schema.field(image.column).type
        if not _holds_images(kind):
            message = f"found {kind}; expected binary, or a struct with `bytes`; or name `archive` or `folder`"
            raise DataError(self.path(name), None, image.column, message)
        return image.column


class ImageGroups:
    """Reads images out of row groups, and keeps the row group that was read last: images are read in order."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._last: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Another process reads anew."""
        return {"_last": None}

    def states(self, path: Path, group: int, column: str) -> list[str]:
        """For each row of a row group whether its image is `here`, `elsewhere` (it has a path alone), or `none`."""
        import pyarrow.compute as pc

        values = self._read(path, group, column)
        parts = [pc.is_valid(_part(values, field)).to_pylist() for field in ("bytes", "path")]
        return ["here" if own else "elsewhere" if path else "none" for own, path in zip(*parts, strict=True)]

    def image(self, path: Path, group: int, column: str, place: int) -> bytes:
        """The bytes of one image.

        Raises DataError when the file is not what it was when its rows were read.
        """
        import pyarrow as pa

        try:
            return bytes(_part(self._read(path, group, column), "bytes")[place].as_py())
        except (OSError, IndexError, TypeError, pa.ArrowException) as error:
            raise DataError(path, None, column, f"cannot be read: {error}; get the file again") from error

    def _read(self, path: Path, group: int, column: str) -> Any:
        import pyarrow.parquet as pq

        last = self._last
        if last is None or last[0] != (path, group, column):
            with pq.ParquetFile(path) as file:
                last = (path, group, column), file.read_row_group(group, columns=[column])[column]
            self._last = last
        return last[1]


def _values(file: Any, group: int, columns: list[str]) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=columns):
        for values in batch.select(columns).to_pylist():
            yield {column: as_text(value) for column, value in values.items()}


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0
    return any(is_it(kind) for is_it in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_binary_view))


def _part(values: Any, field: str) -> Any:
    """A field of a column of structs; of a column of bytes the bytes, and nothing else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(values.type):
        there = values.type.get_field_index(field) >= 0
        return pc.struct_field(values, field) if there else pa.nulls(len(values))
    return values if field == "bytes" else pa.nulls(len(values))
