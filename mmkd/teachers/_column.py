"""A column of lists in an Arrow table, checked row by row and held flat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmkd.data.base import DataError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """values: float32 [n, K], or [all words, K] with offsets [n + 1] of each row's words.

    there [n], or [all words]: which of them the column says something about; values are zeros elsewhere.
    """

    values: np.ndarray
    there: np.ndarray
    offsets: np.ndarray | None

    def taken(self, order: np.ndarray) -> Column:
        """With the K values in this order."""
        return replace(self, values=self.values[:, order])

    def words(self, row: int) -> int:
        """How many words a row has."""
        return 0 if self.offsets is None else int(self.offsets[row + 1] - self.offsets[row])

    def padded(self, rows: Sequence[int | None], width: int) -> tuple[Tensor, Tensor]:
        """Values [B, K], or [B, width, K], and which are there, [B] or [B, width]: none for None."""
        shape = (len(rows), *([] if self.offsets is None else [width]))
        values, there = np.zeros((*shape, self.values.shape[1]), np.float32), np.zeros(shape, bool)
        for place, row in enumerate(rows):
            if row is not None and self.offsets is None:
                values[place], there[place] = self.values[row], self.there[row]
            elif row is not None and self.offsets is not None:
                span = slice(*self.offsets[row : row + 2])
                values[place, : self.words(row)], there[place, : self.words(row)] = self.values[span], self.there[span]
        return torch.from_numpy(values), torch.from_numpy(there)


def read_ids(path: Path, table: pa.Table, name: str) -> list[str]:
    """The column of ids: text, or whole numbers as text.

    Raises DataError for a column that is not there or of another type, and for an id that is null or there twice.
    """
    import pyarrow as pa

    column = _column(path, table, name)
    if not (
        pa.types.is_string(column.type) or pa.types.is_large_string(column.type) or pa.types.is_integer(column.type)
    ):
        raise DataError(path, None, name, f"is a column of {column.type}; expected ids, which are text")
    first: dict[str, int] = {}
    for row, value in enumerate(column.to_pylist(), start=1):
        if value is None:
            raise DataError(path, row, name, "found null; expected the id of a sample")
        if str(value) in first:
            raise DataError(
                path, row, name, f"`{value}` stands in row {first[str(value)]} already; expected each id once"
            )
        first[str(value)] = row
    return list(first)


def read_column(
    path: Path, table: pa.Table, name: str, ids: Sequence[str], size: int | None, over_words: bool
) -> Column:
    """Lists of `size` numbers (None: all of one length); with `over_words` lists of such lists. A lone number is K = 1.

    A null in a list of words stands for a word that the teacher did not read.
    Raises DataError for a column that is not there or of another type, and, with the row, from 1, and its id, for any
    other null, a number that is not finite, and a list of another length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    def refuse(row: int, message: str) -> DataError:
        return DataError(path, row + 1, name, f"`{ids[row]}`: {message}")

    column = _column(path, table, name)
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy(zero_copy_only=False))[0])
        raise refuse(row, "found null; expected what the teacher says, or no row")
    owner, offsets = np.arange(len(ids)), None
    if over_words:
        _require_list(path, name, column, "a list for each word")
        counts = pc.list_value_length(column).to_numpy(zero_copy_only=False)
        owner, offsets = np.repeat(owner, counts), np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        column = column.flatten()
    there = ~column.is_null().to_numpy(zero_copy_only=False)
    column, owner = column.drop_null(), owner[there]
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        lengths, flat = np.ones(len(column), int), column
    else:
        _require_list(path, name, column, "a list of numbers")
        lengths, flat = pc.list_value_length(column).to_numpy(zero_copy_only=False), column.flatten()
    if not (pa.types.is_floating(flat.type) or pa.types.is_integer(flat.type) or len(flat) == 0):
        raise DataError(path, None, name, f"holds {flat.type}; expected numbers")
    expected = size if size is not None else int(lengths[0]) if len(lengths) else 0
    if len(wrong := np.flatnonzero(lengths != expected)):
        found = int(lengths[wrong[0]])
        raise refuse(int(owner[wrong[0]]), f"found {found} numbers; expected {expected}")
    values = flat.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False).astype(np.float32)
    values = values.reshape(len(lengths), expected)
    if len(bad := np.flatnonzero(~np.isfinite(values).all(1))):
        odd = values[bad[0]][~np.isfinite(values[bad[0]])][0]
        raise refuse(int(owner[bad[0]]), f"found {odd} or null among its numbers; expected finite ones")
    every = np.zeros((len(there), expected), np.float32)
    every[there] = values
    return Column(every, there, offsets)


def _column(path: Path, table: pa.Table, name: str) -> pa.Array:
    import pyarrow as pa

    if name not in table.column_names:
        raise DataError(path, None, name, f"there is no such column; found {', '.join(table.column_names)}")
    column = table.column(name)
    joined = column.combine_chunks()
    return pa.concat_arrays(joined.chunks) if isinstance(joined, pa.ChunkedArray) else joined


def _require_list(path: Path, name: str, column: pa.Array, expected: str) -> None:
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_kind(column.type) for is_kind in kinds):
        raise DataError(path, None, name, f"is a column of {column.type}; expected {expected}")
