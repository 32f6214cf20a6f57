"""Damaged and unusual image files: each is named, none raises, none passes unseen where it can be seen."""

import struct
import zlib

import made_images as made
import numpy as np
import pytest
from PIL import Image, ImageFile

from mmkd.data._decode import FORMATS
from mmkd.data.check_image import check_image
from mmkd.data.findings import REASONS
from mmkd.data.pixels import ImageReader

WHOLE = made.whole_files()
DAMAGE = {"image_empty", "image_not_an_image", "image_truncated", "image_corrupt", "image_bomb"}


def reasons(data: bytes) -> list[str]:
    found, image = check_image(data)
    assert {reason for reason, _ in found} <= REASONS.keys()
    assert all(message for _, message in found)
    assert (image is None) == bool({reason for reason, _ in found} & DAMAGE)
    return [reason for reason, _ in found]


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_file_has_no_damage(name: str):
    assert reasons(WHOLE[name]) == (["image_palette"] if name == "gif" else [])


@pytest.mark.parametrize("name", WHOLE)
def test_no_cut_passes_unseen(name: str):
    data = WHOLE[name]
    cuts = {*range(40), *range(40, len(data), max(1, len(data) // 60)), *range(len(data) - 30, len(data))}
    for length in sorted(cuts):
        (reason,) = reasons(data[:length])
        if length < 4:
            assert reason == ("image_not_an_image" if length else "image_empty") or name.startswith("jpeg")
        elif length > 60 and not name.startswith("tiff"):  # a TIFF has its table of contents at its end
            assert reason == "image_truncated", length
        with pytest.raises(OSError, match="found"):
            ImageReader(8).read(data[:length])


def test_each_flipped_byte_of_a_png_is_found():
    data = bytearray(WHOLE["png"])
    for place in range(0, len(data), 7):
        data[place] ^= 0x10
        (reason,) = reasons(bytes(data))
        assert reason in DAMAGE - {"image_empty"}
        data[place] ^= 0x10


@pytest.mark.parametrize("name", WHOLE)
def test_flipped_bytes_are_found_or_do_not_matter(name: str):
    rng = np.random.default_rng(0)
    for _ in range(120):
        data = bytearray(WHOLE[name])
        for place in rng.integers(0, len(data) if rng.random() < 0.5 else 80, rng.integers(1, 5)):
            data[place] = rng.integers(256)
        reasons(bytes(data))


def test_a_wrong_checksum_of_the_pixels_that_pillow_takes_is_corrupt():
    data = bytearray(WHOLE["png"])
    place = data.index(b"IEND") - 5  # the last byte of the checksum before the last chunk
    data[place] ^= 0xFF
    with Image.open(made.io.BytesIO(data)) as image:
        image.load()
    assert reasons(bytes(data)) == ["image_corrupt"]


@pytest.mark.parametrize("data", [b"no image", b"%!PS-Adobe-3.0 EPSF\n", b"BMW, stocks and bonds", b"<svg/>", b"\0"])
def test_what_is_no_image(data: bytes):
    ((reason, message),), _ = check_image(data)
    assert reason == "image_not_an_image"
    assert str(data[:8]) in message
    assert all(name in message for name in FORMATS)


@pytest.mark.parametrize("side", [8193, 10_000, 30_000])  # ours, that of Pillow's warning, that of its error
def test_too_many_pixels_are_found_before_they_are_decoded(side: int):
    assert reasons(made.png(side, side, 8, 2, b"")) == ["image_bomb"]


def test_the_largest_size_is_decoded():
    assert reasons(made.png(8192, 8192, 8, 2, b"")) == ["image_truncated"]


def test_a_bomb_in_another_format():
    gif = b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b",\0\0\0\0" + struct.pack("<HHB", 65535, 65535, 0)
    assert reasons(gif + b"\x08\0;") == ["image_bomb"]
    webp = bytearray(WHOLE["webp"])
    webp[26:30] = struct.pack("<HH", 16383, 16383)
    assert reasons(bytes(webp)) == ["image_bomb"]


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_several_frames(file_format: str):
    found = dict(check_image(made.frames(file_format))[0])
    assert f"several frames in a {file_format} file" in found["image_animated"]
    assert "image_animated" not in reasons(made.frames(file_format, 1))


def test_the_frames_behind_a_photograph_do_not_count():
    data = made.frames("MPO", 2)
    with Image.open(made.io.BytesIO(data)) as image:
        assert image.n_frames == 2
    assert reasons(data) == []


def test_a_gif_with_a_damaged_second_frame_is_still_animated():
    assert "image_animated" in reasons(made.frames("GIF", 2)[:-30])


@pytest.mark.parametrize("mode", ["CMYK", "LAB"])
def test_print_colours(mode: str):
    picture = Image.new(mode, (8, 8), (10, 20, 30, 40)[: len(mode)])
    assert reasons(made.encoded(picture, "JPEG" if mode == "CMYK" else "TIFF")) == ["image_cmyk"]


@pytest.mark.parametrize(
    ("bits", "data"),
    [
        (16, made.rgb16((0, 1, 65535))),
        (16, made.encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)), "PNG")),
        (16, made.encoded(Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)), "TIFF")),
        (32, made.encoded(Image.fromarray(np.arange(64, dtype=np.int32).reshape(8, 8)), "TIFF")),
        (32, made.encoded(Image.fromarray(np.arange(64, dtype=np.float32).reshape(8, 8)), "TIFF")),
        (12, made.tiff12(0, 4095)),
    ],
)
def test_more_than_8_bits(bits: int, data: bytes):
    found = dict(check_image(data)[0])
    assert list(found) == ["image_16_bit"]
    assert f"{bits} bits" in found["image_16_bit"]


def test_a_palette_and_transparent_pixels():
    clear, opaque = Image.new("RGBA", (4, 4), (1, 2, 3, 254)), Image.new("RGBA", (4, 4), (1, 2, 3, 255))
    assert reasons(made.encoded(clear, "PNG")) == ["image_alpha"]
    assert reasons(made.encoded(opaque, "PNG")) == []
    assert reasons(made.encoded(clear, "WEBP", lossless=True)) == ["image_alpha"]
    assert reasons(made.encoded(clear.convert("LA"), "PNG")) == ["image_alpha"]
    palette = Image.new("P", (4, 4), 0)
    palette.putpalette([9, 9, 9, 7, 7, 7])
    assert reasons(made.encoded(palette, "PNG")) == ["image_palette"]
    assert reasons(made.encoded(palette, "PNG", transparency=1)) == ["image_palette"]  # no pixel has that colour
    assert reasons(made.encoded(palette, "PNG", transparency=0)) == ["image_palette", "image_alpha"]
    assert reasons(made.encoded(Image.new("RGB", (4, 4)), "PNG", transparency=(0, 0, 0))) == ["image_alpha"]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize("exif", [b"II*\0\xff\xff\xff\xff", b" no such thing", b"II*\0\x08\0\0\0\x05\0\x12\1\3"])
def test_a_damaged_exif_block_does_not_matter(file_format: str, exif: bytes):
    assert reasons(made.encoded(made.noise(), file_format, exif=b"Exif\0\0" + exif)) == []


@pytest.mark.parametrize("error", [SyntaxError, EOFError, struct.error, KeyError, RuntimeError, OverflowError])
def test_whatever_a_decoder_raises_is_a_finding(error: type[Exception], monkeypatch: pytest.MonkeyPatch):
    def fail(self: ImageFile.ImageFile) -> None:
        raise error("wrong")

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    ((reason, message),), _ = check_image(WHOLE["bmp"])
    assert reason == ("image_truncated" if error is EOFError else "image_corrupt")
    assert "wrong" in message


def test_a_text_that_unpacks_to_too_much_is_corrupt():
    text = (b"zTXt", b"comment\0\0" + zlib.compress(bytes(8 * 2**20)))
    assert reasons(made.png(1, 1, 8, 0, b"\0\0", text)) == ["image_corrupt"]


def test_the_print_follows_from_pixels_not_from_bytes():
    same = [check_image(WHOLE[name])[1] for name in ("png", "bmp", "tiff", "webp lossless")]
    assert same[0] is not None
    assert len(set(same)) == 1
    changed = made.noise()
    changed.putpixel((0, 0), (1, 2, 3))
    other = check_image(made.encoded(changed, "PNG"))[1]
    assert other is not None
    assert other.digest != same[0].digest
    wide = [made.encoded(Image.new("RGB", size, "red"), "PNG") for size in ((4, 6), (6, 4))]
    assert len({check_image(data)[1] for data in wide}) == 2
