"""From the bytes of an image file to upright RGB pixels, in the same way for the checks and for the encoders.

Pillow decodes; what it lets pass is looked at here: a PNG whose checksums are wrong or that has no end, a GIF without
its end, a size that is not safe to decode. Pillow's `verify` is not used: it reads no pixels.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFile

# A truncated file raises; Pillow must never fill the rest with grey.
ImageFile.LOAD_TRUNCATED_IMAGES = False

MAX_PIXELS = 2**26
"""More are not decoded. Pillow keeps four bytes a pixel, so this is 256 MiB; phones take up to 50 million pixels."""

FORMATS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM.{4}\0\0\0\0", re.DOTALL),
    "TIFF": re.compile(rb"II\*\0|MM\0\*"),
}
"""Formats that are read, by Pillow's name, and how their files begin. Others are refused: some of Pillow's run
programs (EPS), and none of them is tried with damaged files here."""

_LOOKS_WHOLE: dict[str, Callable[[bytes], bool]] = {
    "JPEG": lambda data: b"\xff\xd9" in data,
    "PNG": lambda data: b"IEND" in data,
    "WEBP": lambda data: len(data) >= 8 + int(struct.unpack_from("<I", data, 4)[0]),
    "GIF": lambda data: data.rstrip(b"\0").endswith(b";"),
    "BMP": lambda data: len(data) >= int(struct.unpack_from("<I", data, 2)[0]),
    "TIFF": lambda data: True,
}
"""Whether a file that cannot be decoded has its end at least: it is then damaged, and not cut off."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation (tag 0x0112) -> what makes the image upright."""


class ImageFlaw(OSError):
    """An image file that cannot be decoded to its end. reason: a key of REASONS."""

    def __init__(self, reason: str, message: str) -> None:
        """message: what was found, and what was expected."""
        super().__init__(message)
        self.reason = reason


def decoded(data: bytes) -> ImageFile.ImageFile:
    """The first frame of an image file, decoded to its end, in the file's own mode.

    Raises ImageFlaw when the bytes are no whole image, or have more than MAX_PIXELS.
    """
    if not data:
        raise ImageFlaw("image_empty", "found 0 bytes; get the file again")
    file_format = next((name for name, start in FORMATS.items() if start.match(data)), None)
    if file_format is None:
        message = f"found a file that starts with {data[:8]!r}; expected one of {', '.join(FORMATS)}"
        raise ImageFlaw("image_not_an_image", message)
    try:
        # Pillow warns of large images and of odd meta data: the first are judged here, the second do not matter.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _loaded(data, file_format)
    except ImageFlaw:
        raise
    except Image.DecompressionBombError as error:
        raise ImageFlaw("image_bomb", f"{error}; expected at most {MAX_PIXELS}") from error
    except Exception as error:  # decoders raise whatever damaged bytes lead them to, SyntaxError included
        cut = "runcated" in str(error) or isinstance(error, EOFError) or not _LOOKS_WHOLE[file_format](data)
        reason = "image_truncated" if cut else "image_corrupt"
        what = str(error) or type(error).__name__
        if isinstance(error, Image.UnidentifiedImageError):
            what = "its header cannot be read"
        raise ImageFlaw(reason, f"found {len(data)} bytes of a {file_format} file: {what}; get it again") from error


def _loaded(data: bytes, file_format: str) -> ImageFile.ImageFile:
    stream = io.BytesIO(data)
    image = Image.open(stream, formats=[file_format])
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        message = f"found {image.width} x {image.height} = {pixels} pixels; expected at most {MAX_PIXELS}"
        raise ImageFlaw("image_bomb", message)
    if file_format == "PNG":
        _check_chunks(data)
    # To tell that there is no second frame, Pillow reads on to the byte that ends a GIF.
    animated, place = has_frames(image), stream.tell()
    if file_format == "GIF" and not animated and data[place - 1 : place] != b";":
        raise ImageFlaw("image_truncated", f"found {len(data)} bytes of a GIF file without its end; get it again")
    image.load()
    return image


def has_frames(image: ImageFile.ImageFile) -> bool:
    """Whether the file holds several frames or pages."""
    return bool(getattr(image, "is_animated", False))


def _check_chunks(data: bytes) -> None:
    """Check each chunk's checksum, and that the last is there: Pillow checks neither for the chunks of pixels.

    Raises ImageFlaw.
    """
    place, name = 8, b""
    while name != b"IEND":
        if place + 12 > len(data):
            raise ImageFlaw("image_truncated", f"found {len(data)} bytes of a PNG file without its end; get it again")
        length, name = struct.unpack_from(">I4s", data, place)
        end = place + 8 + length
        if end + 4 > len(data):
            message = f"found {len(data)} bytes of a PNG file; its chunk {name!r} ends at {end + 4}; get it again"
            raise ImageFlaw("image_truncated", message)
        if zlib.crc32(data[place + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            message = f"found a wrong checksum in the chunk {name!r} at byte {place} of a PNG file; get it again"
            raise ImageFlaw("image_corrupt", message)
        place = end + 4


def as_rgb(image: ImageFile.ImageFile) -> Image.Image:
    """The pixels as people see them: RGB, transparent parts on white, upright by the file's EXIF orientation.

    Print colours are converted by Pillow's formula, without a colour profile. More than 8 bits are scaled down.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if image.mode == "F" or image.mode.startswith("I"):
            pixels = _eight_bits(image).convert("RGB")
        elif image.has_transparency_data:
            layer = image.convert("RGBA")
            pixels = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
        else:
            pixels = image.convert("RGB")
        turn = _TURNS.get(_orientation(image))
    return pixels if turn is None else pixels.transpose(turn)


def sample_bits(image: ImageFile.ImageFile, data: bytes) -> int:
    """Bits of one channel in the file, which Pillow's mode does not tell. data: the file."""
    if image.format == "PNG":
        return data[24]
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, 1)  # type: ignore[attr-defined]
        return int(max(bits) if isinstance(bits, tuple) else bits)
    return 8


def _eight_bits(image: ImageFile.ImageFile) -> Image.Image:
    """Grey of 8 bits: 16 bits by their range; 32 bits and floats, which have no fixed white, by the image's own."""
    values = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I;16"):
        # Pillow gives TIFF files of 12 bits the mode of 16.
        low, high = 0.0, float(2 ** max(9, sample_bits(image, b"")) - 1) if image.format == "TIFF" else 65535.0
    else:
        values = np.where(np.isfinite(values), values, np.nan)
        known = values[~np.isnan(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    scaled = (np.nan_to_num(values, nan=low) - low) / max(high - low, np.finfo(np.float64).tiny) * 255
    return Image.fromarray(np.rint(scaled).clip(0, 255).astype(np.uint8))


def _orientation(image: ImageFile.ImageFile) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # a damaged EXIF block says nothing of the pixels
        return 1
