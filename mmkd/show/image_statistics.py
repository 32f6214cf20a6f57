"""The images of a data set: their sizes in pixels and bytes, from the files' headers; no pixel is decoded."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mmkd.data.base import Example
from mmkd.show.spread import Spread, spread


@dataclass(frozen=True, slots=True)
class ImageStatistics:
    """all: images of the split; looked_at: those that were opened; unreadable: those of them that could not be.

    width, height in pixels, and bytes of a file: None when none could be read. sizes: (width, height, images of it).
    """

    all: int
    looked_at: int
    unreadable: int
    width: Spread | None
    height: Spread | None
    bytes: Spread | None
    sizes: list[tuple[int, int, int]]


def measure_images(rows: Sequence[Example], most: int) -> ImageStatistics | None:
    """Look at so many images, evenly spread over the rows. None for rows without images."""
    readers = [row.image for row in rows if row.image is not None]
    if not readers:
        return None
    looked_at = [readers[place * len(readers) // most] for place in range(most)] if len(readers) > most else readers
    sizes, lengths = [], []
    for reader in looked_at:
        try:
            data = reader()
            sizes.append(_size(data))
        except Exception:  # decoders raise nearly anything on damaged files, and the checks name them
            continue
        lengths.append(len(data))
    width, height, length = (
        spread(those) if those else None for those in ([w for w, _ in sizes], [h for _, h in sizes], lengths)
    )
    counted = [(*size, number) for size, number in sorted(Counter(sizes).items())]
    return ImageStatistics(len(readers), len(looked_at), len(looked_at) - len(sizes), width, height, length, counted)


def _size(data: bytes) -> tuple[int, int]:
    from PIL import Image

    from mmkd.data._decode import FORMATS

    with warnings.catch_warnings():
        # The header is all that is read, so odd meta data and sizes that are not safe to decode do no harm.
        warnings.simplefilter("ignore")
        with Image.open(io.BytesIO(data), formats=list(FORMATS)) as image:
            return image.size
