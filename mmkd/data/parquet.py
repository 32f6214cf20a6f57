"""`parquet`: Apache Parquet files (https://parquet.apache.org), with images in a column, an archive or a folder.

Numbers become the text that Python prints for them; text stays as it is. No torch here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmkd.data._columns import ColumnsConfig, ColumnsSource, Row, as_text
from mmkd.data.base import DataError
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source"]


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

        Raises DataError for a file that is no Parquet file, or damaged.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        image = self.config.image.column if self.config.image else None
        for name in self.own_files(split):
            number = 0
            try:
                file = pq.ParquetFile(self.path(name))
                embedded = image is not None and not _is_text(file.schema_arrow, image)
                columns = [column for column in file.schema_arrow.names if not (embedded and column == image)]
                for group in range(file.num_row_groups):
                    has = self._groups.present(self.path(name), group, image) if embedded and image else None
                    for place, values in enumerate(file.read_row_group(group, columns=columns).to_pylist()):
                        number += 1
                        row = {column: as_text(value) for column, value in values.items()}
                        if has is not None and image is not None:
                            read = partial(self._groups.image, self.path(name), group, image, place)
                            row[image] = read if has[place] else None
                        yield Row(name, number, row)
            except (OSError, pa.ArrowException) as error:
                raise DataError(self.path(name), None, None, f"cannot be read as Parquet: {error}") from error


class ImageGroups:
    """Reads images out of row groups, and keeps the row group that was read last: images are read in order."""

    def __init__(self) -> None:
        """Nothing is read yet."""
        self._last: tuple[Any, list[Any]] | None = None

    def __getstate__(self) -> None:
        """Another process reads anew."""

    def __setstate__(self, state: None) -> None:
        """state: nothing."""
        self._last = None

    def present(self, path: Path, group: int, column: str) -> list[bool]:
        """Which rows of a row group have an image."""
        return [_bytes(value) is not None for value in self._read(path, group, column)]

    def image(self, path: Path, group: int, column: str, place: int) -> bytes:
        """The bytes of one image."""
        found = _bytes(self._read(path, group, column)[place])
        assert found is not None  # rows without an image have no reader
        return found

    def _read(self, path: Path, group: int, column: str) -> list[Any]:
        import pyarrow.parquet as pq

        if self._last is None or self._last[0] != (path, group, column):
            values = pq.ParquetFile(path).read_row_group(group, columns=[column])[column].to_pylist()
            self._last = (path, group, column), values
        return self._last[1]


def _bytes(value: Any) -> bytes | None:
    return value.get("bytes") if isinstance(value, dict) else value


def _is_text(schema: Any, column: str) -> bool:
    import pyarrow as pa

    if column not in schema.names:
        return True  # the row then says which column is missing
    kind = schema.field(column).type
    return not (pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_struct(kind))


