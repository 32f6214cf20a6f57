"""How an image encoder reads an image file: RGB, resized to a square, uint8."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageFile

from mmkd.record import hash_of

# A truncated file raises; Pillow must never fill the rest with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False


class ImageReader:
    """Turns the bytes of an image file into uint8 [3, size, size]."""

    def __init__(self, size: int) -> None:
        """size: height and width in pixels; images are resized bicubically, without keeping their aspect."""
        self.size = size

    @property
    def identity(self) -> str:
        """sha256 of everything that determines the pixels."""
        return hash_of(["rgb", "bicubic", self.size, Image.__version__])

    def read(self, data: bytes) -> np.ndarray:
        """Pixels of one image.

        Raises OSError when the bytes are no whole image.
        """
        with Image.open(io.BytesIO(data)) as image:
            pixels = image.convert("RGB")
        if pixels.size != (self.size, self.size):
            pixels = pixels.resize((self.size, self.size), Image.Resampling.BICUBIC)
        return np.asarray(pixels).transpose(2, 0, 1)
