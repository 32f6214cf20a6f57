"""Splits are read once, encoded once, and encoded anew when a row changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmkd.data.encode import DataSplit
from mmkd.data.pixels import ImageReader
from mmkd.data.relabel import MISSING
from tiny_project import Listed, Row, data_split, picture, reader

ROWS = [
    Row("Acme falls", 10, {"mood": 2, "ner": (1, 0)}),
    Row("", 200, {"risk": 1}),
    Row("all is well", None, {}),
]


def encode(split: DataSplit, folder: Path) -> dict[str, np.ndarray]:
    own = reader([["all", "is", "well", "Acme"]], folder / "tokenizers")
    return {**split.rows(), "token ids": split.tokens(own)["ids"], "pixels": split.pixels(ImageReader(48))}


def test_rows_labels_and_what_is_absent(tmp_path: Path):
    rows = data_split(Listed({"train": ROWS}), "train", tmp_path).rows()
    assert rows["ids"].tolist() == ["train/0", "train/1", "train/2"]
    assert rows["offsets"].tolist() == [0, 2, 2, 5]
    assert rows["has_text"].tolist() == [True, False, True]
    assert rows["has_image"].tolist() == [True, True, False]
    assert rows["labels.mood"].tolist() == [2, MISSING, MISSING]
    assert rows["has_label.risk"].tolist() == [False, True, False]
    assert rows["labels.ner"].tolist() == [1, 0, MISSING, MISSING, MISSING]


def test_pixels_are_those_of_the_image_and_zeros_without_one(tmp_path: Path):
    pixels = data_split(Listed({"train": ROWS}), "train", tmp_path).pixels(ImageReader(48))
    ramp = np.clip(200 + np.arange(48), 0, 255)
    assert np.array_equal(pixels[1], np.broadcast_to(ramp, (3, 48, 48)))
    assert not pixels[2].any()


def test_a_split_without_any_word_is_encoded(tmp_path: Path):
    found = encode(data_split(Listed({"train": [Row("", 10), Row("", 20)]}), "train", tmp_path), tmp_path)
    assert found["labels.ner"].shape == (0,)
    assert found["offsets"].tolist() == [0, 0, 0]


def test_unchanged_data_is_not_read_again(tmp_path: Path):
    first, second = Listed({"train": ROWS}), Listed({"train": ROWS})
    before = encode(data_split(first, "train", tmp_path), tmp_path)
    after = encode(data_split(second, "train", tmp_path), tmp_path)
    assert (first.reads, second.reads) == (["train"], [])
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_two_splits_of_one_tokenizer_are_both_found_again(tmp_path: Path):
    own = reader([["all"]], tmp_path / "tokenizers")
    source = Listed({"train": ROWS, "test": ROWS})
    for split in ("train", "test"):
        data_split(source, split, tmp_path).tokens(own)
    again = Listed({"train": ROWS, "test": ROWS})
    for split in ("test", "train"):
        data_split(again, split, tmp_path).tokens(reader([["all"]], tmp_path / "tokenizers"))
    assert again.reads == []


def test_one_changed_character_encodes_all_anew(tmp_path: Path):
    encode(data_split(Listed({"train": ROWS}), "train", tmp_path), tmp_path)
    changed = Listed({"train": [Row("Acme fallS", 10, {"mood": 2, "ner": (1, 0)}), *ROWS[1:]]})
    encode(data_split(changed, "train", tmp_path), tmp_path)
    assert changed.reads == ["train"]
    for name in ("rows", "tokens", "pixels"):
        assert len(list((tmp_path / name).iterdir())) == 2


def test_the_limit_takes_the_first_rows_and_is_part_of_the_key(tmp_path: Path):
    source = Listed({"train": ROWS})
    assert data_split(source, "train", tmp_path, limit=2).rows()["ids"].tolist() == ["train/0", "train/1"]
    assert len(data_split(source, "train", tmp_path).rows()["ids"]) == 3


def test_an_unreadable_image_names_its_row(tmp_path: Path):
    class Broken(Listed):
        def read(self, split: str):
            for example in super().read(split):
                whole = example.image() if example.image else b""
                yield type(example)(example.id, example.words, lambda whole=whole: whole[:60], example.labels)

    with pytest.raises(OSError, match=r"listed/train, row train/0: the image cannot be read"):
        data_split(Broken({"train": ROWS}), "train", tmp_path).pixels(ImageReader(48))


def test_images_of_another_size_are_resized_bicubically(tmp_path: Path):
    path = tmp_path / "image.png"
    path.write_bytes(picture(100))
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB").resize((32, 32), Image.Resampling.BICUBIC))
    assert np.array_equal(ImageReader(32).read(path.read_bytes()), expected.transpose(2, 0, 1))


@pytest.mark.parametrize("place", range(40, 130, 15))
def test_a_damaged_picture_raises_oserror_alone(place: int):
    content = bytearray(picture(100))
    content[place] ^= 0xFF
    try:
        pixels = ImageReader(48).read(bytes(content))
    except OSError:
        return
    assert pixels.shape == (3, 48, 48)  # a byte that does not matter, such as one of a text chunk
