"""`digits`: the 1,797 handwritten digits of 8 x 8 pixels that scikit-learn carries, as images. No download.

The file is found inside the installed package and compared with its sha256; scikit-learn itself is not imported. Rows
are dealt to the splits by a seeded permutation of each digit's rows, so that every split has its share of each digit.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from mmkd.config.section import Section
from mmkd.data import base

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source"]

FILE = "datasets/data/digits.csv.gz"
SHA256 = "6ebb3d2fee246a4e99363262ddf8a00a3c41bee6014c373ed9d9216ba7f651b8"
"""Of the file as it is unpacked: 65 numbers a line, 64 pixels of 0 to 16 row by row, then the digit."""

LONGEST = 2**20
"""Bytes that are unpacked of it; it has a quarter of them."""

SHARES: dict[base.Split, float] = {"train": 0.35, "transfer": 0.3, "validation": 0.1, "test": 0.25}
GREYEST = 16


class Config(Section):
    """seed: another seed gives other splits. withheld: digits whose rows the split `transfer` lacks."""

    kind: Literal["digits"] = "digits"
    seed: Annotated[int, Field(ge=0)] = 0
    withheld: tuple[Annotated[int, Field(ge=0, le=9)], ...] = Field(default=(), strict=False)


class Source(base.Source):
    """Images of 8 x 8 with the task `digit`; rows of `transfer` have no labels."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """card and root are not used: the file is part of an installed package."""
        super().__init__(config, card, root)

    def read(self, split: str) -> Iterator[base.Example]:
        """Yield the rows of a split in the file's order.

        Raises DataError when scikit-learn is not installed or its file is another one, ValueError for no split.
        """
        if split not in base.SPLITS:
            raise ValueError(f"digits: found the split {split!r}; expected one of {', '.join(base.SPLITS)}")
        table = _table()
        digits = table[:, -1]
        for row in np.flatnonzero(_dealt(digits, self.config.seed) == base.SPLITS.index(split)):
            digit = int(digits[row])
            if split == "transfer" and digit in self.config.withheld:
                continue
            labels: dict[str, base.Label] = {} if split == "transfer" else {"digit": digit}
            yield base.Example(f"digits/{row:04d}", (), partial(png, table[row, :-1]), labels)


def png(pixels: np.ndarray) -> bytes:
    """The PNG of 64 numbers of 0 to 16: 16 is white, as a stroke is in the file."""
    grey = (pixels.reshape(8, 8) * 255 // GREYEST).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "PNG")
    return stream.getvalue()


def _table() -> np.ndarray:
    found = importlib.util.find_spec("sklearn")
    if found is None or found.origin is None:
        raise base.DataError(None, None, None, "found no scikit-learn, which carries the digits; install scikit-learn")
    path = Path(found.origin).parent / FILE
    try:
        with gzip.open(path) as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise base.DataError(path, None, None, f"cannot be read: {error}") from error
    if len(text) > LONGEST or hashlib.sha256(text).hexdigest() != SHA256:
        raise base.DataError(path, None, None, f"found other content; expected the sha256 {SHA256} when unpacked")
    return np.loadtxt(io.BytesIO(text), delimiter=",").astype(np.int64)


def _dealt(digits: np.ndarray, seed: int) -> np.ndarray:
    """The number of each row's split."""
    ends = np.cumsum([SHARES[split] for split in base.SPLITS])
    split = np.empty(len(digits), np.int64)
    for digit in range(10):
        rows = np.random.default_rng([seed, digit]).permutation(np.flatnonzero(digits == digit))
        split[rows] = np.searchsorted(ends[:-1], (np.arange(len(rows)) + 0.5) / len(rows), side="right")
    return split
