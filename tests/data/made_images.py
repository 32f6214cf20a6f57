"""Encoded images of every sort that a data set can hold, made by hand where Pillow cannot write them."""

import io
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image


def noise(width: int = 40, height: int = 30, seed: int = 0) -> Image.Image:
    """A picture with soft and hard parts."""
    rng = np.random.default_rng(seed)
    grid = rng.integers(0, 256, (5, 6, 3), np.uint8)
    picture = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
    picture.paste(Image.fromarray(rng.integers(0, 256, (height // 3, width // 3, 3), np.uint8)), (3, 3))
    return picture


def encoded(picture: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, file_format, **options)
    return stream.getvalue()


def png(width: int, height: int, bits: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG as its specification says. colour: 0 grey, 2 RGB; rows: the samples with the filter byte of each row."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )


def rgb16(*pixels: tuple[int, int, int]) -> bytes:
    """A PNG of one row with 16 bits a channel."""
    return png(len(pixels), 1, 16, 2, b"\0" + struct.pack(f">{3 * len(pixels)}H", *sum(pixels, ())))


def tiff12(first: int, second: int) -> bytes:
    """A TIFF of two grey pixels of 12 bits."""
    entries = [(256, 3, 1, 2), (257, 3, 1, 1), (258, 3, 1, 12), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8)]
    entries += [(277, 3, 1, 1), (278, 3, 1, 1), (279, 4, 1, 3)]
    pixels = ((first << 12) | second).to_bytes(3, "big") + b"\0"
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *each) for each in entries)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory + struct.pack("<I", 0)


def frames(file_format: str, count: int = 3) -> bytes:
    first, *rest = [noise(seed=seed) for seed in range(count)]
    return encoded(first, file_format, save_all=True, append_images=rest)


def whole_files() -> dict[str, bytes]:
    """One undamaged file of each format and way of compression."""
    picture = noise()
    return {
        "jpeg": encoded(picture, "JPEG"),
        "jpeg progressive": encoded(picture, "JPEG", progressive=True),
        "png": encoded(picture, "PNG"),
        "webp": encoded(picture, "WEBP"),
        "webp lossless": encoded(picture, "WEBP", lossless=True),
        "gif": encoded(picture.quantize(16), "GIF"),
        "bmp": encoded(picture, "BMP"),
        "tiff": encoded(picture, "TIFF"),
        "tiff lzw": encoded(picture, "TIFF", compression="tiff_lzw"),
        "tiff jpeg": encoded(picture, "TIFF", compression="jpeg"),
    }
