"""How an image encoder reads an image file: upright RGB on white, resized to a square, uint8."""

from __future__ import annotations

import numpy as np
from PIL import Image

from mmkd.data._decode import as_rgb, decoded
from mmkd.record import hash_of


class ImageReader:
    """Turns the bytes of an image file into uint8 [3, size, size]."""

    def __init__(self, size: int) -> None:
        """size: height and width in pixels; images are resized bicubically, without keeping their aspect."""
        self.size = size

    @property
    def identity(self) -> str:
        """sha256 of everything that determines the pixels."""
        return hash_of(["rgb", "on white", "upright", "bicubic", self.size, Image.__version__])

    def read(self, data: bytes) -> np.ndarray:
        """Pixels of one image: its first frame, transparent parts on white, turned as its EXIF orientation says.

        Raises OSError when the bytes are no whole image.
        """
        pixels = as_rgb(decoded(data))
        if pixels.size != (self.size, self.size):
            pixels = pixels.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return np.asarray(pixels).transpose(2, 0, 1)
