"""What an encoder sees of an image: on white, upright, of 8 bits, and the first frame."""

import made_images as made
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from mmkd.data.pixels import ImageReader


def read(data: bytes, size: int = 1) -> list[int]:
    """The pixel at the top left, as [red, green, blue]."""
    return ImageReader(size).read(data)[:, 0, 0].tolist()


def one(mode: str, colour: object) -> Image.Image:
    return Image.new(mode, (1, 1), colour)


def test_transparent_pixels_lie_on_white():
    assert read(made.encoded(one("RGBA", (200, 0, 0, 0)), "PNG")) == [255, 255, 255]  # the hidden colour is not shown
    assert read(made.encoded(one("RGBA", (255, 0, 0, 51)), "PNG")) == [255, 204, 204]  # one fifth red
    assert read(made.encoded(one("LA", (0, 51)), "PNG")) == [204, 204, 204]
    assert read(made.encoded(one("RGBA", (10, 20, 30, 255)), "PNG")) == [10, 20, 30]
    assert read(made.encoded(one("RGB", (10, 20, 30)), "PNG", transparency=(10, 20, 30))) == [255, 255, 255]
    assert read(made.encoded(one("L", 10), "PNG", transparency=10)) == [255, 255, 255]


@pytest.mark.parametrize(("transparent", "expected"), [(0, [255, 255, 255]), (1, [9, 8, 7])])
@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_palette_is_looked_up(transparent: int, expected: list[int], file_format: str):
    picture = one("P", 0)
    picture.putpalette([9, 8, 7, 1, 2, 3])
    assert read(made.encoded(picture, file_format, transparency=transparent)) == expected


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF"])
def test_pictures_stand_upright(orientation: int, file_format: str):
    picture, exif = made.noise(12, 12), Image.Exif()
    exif[0x0112] = orientation
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture)).transpose(2, 0, 1)
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = made.encoded(made.noise(12, 12), file_format, exif=exif.tobytes(), **options)
    assert np.array_equal(ImageReader(12).read(data), expected)


def test_a_turned_photograph():
    """Orientation 6: the row that is first in the file is the right side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (32, 32), "black")
    picture.paste("white", (0, 0, 32, 8))
    pixels = ImageReader(32).read(made.encoded(picture, "JPEG", exif=exif))
    assert pixels[:, :, 28:].min() > 200
    assert pixels[:, :, :20].max() < 50


def test_what_can_be_read_of_a_damaged_exif_block_counts():
    """Orientation 6, then an entry that points behind the end, of which Pillow warns."""
    entries = b"\x12\1\3\0\1\0\0\0\6\0\0\0" + b"\x0f\1\2\0\x20\0\0\0\xf0\0\0\0"
    exif = b"Exif\0\0II*\0\x08\0\0\0\2\0" + entries + bytes(4)
    turned = np.asarray(made.noise(12, 12).transpose(Image.Transpose.ROTATE_270)).transpose(2, 0, 1)
    assert np.array_equal(ImageReader(12).read(made.encoded(made.noise(12, 12), "PNG", exif=exif)), turned)


def test_a_damaged_exif_block_turns_nothing():
    picture = made.noise(16, 16)
    damaged = made.encoded(picture, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert np.array_equal(ImageReader(16).read(damaged), ImageReader(16).read(made.encoded(picture, "JPEG")))


def test_more_than_8_bits_are_scaled_and_not_clipped():
    grey = Image.fromarray(np.array([[0, 257 * 3, 257 * 200, 65535]], np.uint16))
    for file_format in ("PNG", "TIFF"):
        pixels = ImageReader(4).read(made.encoded(grey.resize((4, 4), Image.Resampling.NEAREST), file_format))
        assert pixels[:, 0].tolist() == [[0, 3, 200, 255]] * 3
    assert read(made.rgb16((0x0000, 0xABCD, 0xFFFF))) == [0x00, 0xAB, 0xFF]
    assert [read(made.tiff12(value, 0), 2)[0] for value in (0, 2048, 4095)] == [0, 128, 255]


def test_transparency_of_16_bits_does_not_raise():
    colour = (b"tRNS", b"\0\1\0\2\0\3")
    assert read(made.png(1, 1, 16, 2, b"\0\xab\xcd\xab\xcd\xab\xcd", colour)) == [0xAB] * 3


@pytest.mark.parametrize("kind", [np.int32, np.float32])
def test_numbers_without_a_fixed_white_are_stretched(kind: type):
    picture = Image.fromarray(np.array([[-50, 0], [50, 150]], kind))
    # (value + 50) / 200 * 255
    assert ImageReader(2).read(made.encoded(picture, "TIFF"))[0].tolist() == [[0, 64], [128, 255]]
    flat = Image.fromarray(np.full((2, 2), 7, kind))
    assert ImageReader(2).read(made.encoded(flat, "TIFF")).max() == 0


def test_numbers_that_are_none_are_black():
    picture = Image.fromarray(np.array([[np.nan, 1.0], [3.0, np.inf]], np.float32))
    assert ImageReader(2).read(made.encoded(picture, "TIFF"))[0].tolist() == [[0, 0], [255, 0]]


def test_print_colours_are_converted():
    assert max(read(made.encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG"))) < 8
    assert min(read(made.encoded(Image.new("LAB", (8, 8), (255, 128, 128)), "TIFF"))) > 247


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "TIFF", "MPO"])
def test_of_several_frames_the_first_is_read(file_format: str):
    first = ImageReader(30).read(made.encoded(made.noise(seed=0), "PNG"))
    pixels = ImageReader(30).read(made.frames(file_format))
    assert np.abs(pixels.astype(int) - first).mean() < 12
    other = ImageReader(30).read(made.encoded(made.noise(seed=1), "PNG"))
    assert np.abs(pixels.astype(int) - other).mean() > 40


@pytest.mark.parametrize("data", [b"", b"no image", made.whole_files()["png"][:-20]])
def test_what_is_no_whole_image_raises_oserror(data: bytes):
    with pytest.raises(OSError, match="found"):
        ImageReader(8).read(data)


def test_pillow_never_fills_the_rest():
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


def test_the_identity_is_that_of_the_pixels():
    assert ImageReader(8).identity == ImageReader(8).identity != ImageReader(9).identity
