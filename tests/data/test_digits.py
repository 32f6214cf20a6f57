"""digits: as many rows as scikit-learn's own reader gives, the same pixels, and splits that share no row."""

import io
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from mmkd.data import digits
from mmkd.data.base import SPLITS, DataError, Example
from mmkd.data.card import open_source, read_card

CARD = read_card(Path(__file__).parents[2] / "data_cards" / "digits.md")


def rows(split: str, **options: object) -> list[Example]:
    return [row for row in open_source(CARD, options, None).read(split) if isinstance(row, Example)]


def pixels(row: Example) -> np.ndarray:
    assert row.image is not None
    return np.asarray(Image.open(io.BytesIO(row.image())))


def test_the_splits_hold_what_the_card_says_and_share_no_row():
    found = {split: rows(split) for split in SPLITS}
    assert {split: len(each) for split, each in found.items()} == CARD.splits
    assert len({row.id for each in found.values() for row in each}) == 1797
    stated = [line.split("|") for line in CARD.body.splitlines() if line.startswith("| digit |")]
    for digit, cells in enumerate(stated):
        counts = [
            Counter(row.labels["digit"] for row in found[split])[digit] for split in SPLITS if split != "transfer"
        ]
        assert counts == [int(cell) for cell in cells[3:6]]
    assert len(stated) == 10
    assert not any(row.labels for row in found["transfer"])


def test_pixels_and_labels_are_those_that_scikit_learn_reads():
    known = load_digits()
    for row in (row for split in SPLITS for row in rows(split)):
        number = int(row.id.split("/")[1])
        assert (pixels(row) == known.images[number].astype(int) * 255 // 16).all()
        assert row.labels.get("digit", known.target[number]) == known.target[number]
    assert (known.images.min(), known.images.max()) == (0, 16)


def test_a_withheld_digit_is_missing_from_transfer_alone():
    known = load_digits().target
    left = rows("transfer", withheld=[3])
    assert {row.id for row in left} == {row.id for row in rows("transfer") if known[int(row.id[-4:])] != 3}
    assert len(left) == 484
    assert len(rows("train", withheld=[3])) == CARD.splits["train"]


def test_another_seed_gives_other_splits():
    assert {row.id for row in rows("test")} != {row.id for row in rows("test", seed=1)}


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(digits, "SHA256", "0" * 64)
    with pytest.raises(DataError, match="found other content"):
        rows("test")


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    source = open_source(CARD, {}, None)
    monkeypatch.setattr(digits.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="install scikit-learn"):
        list(source.read("test"))
