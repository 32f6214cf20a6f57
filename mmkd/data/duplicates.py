"""Rows that are in a data set twice, and leaks: what a model saw in training and is then judged by.

Of two rows in two splits the one in the less protected split is named, so that leaving it out keeps the test split
whole: training rows before validation rows before test rows. `train` and `transfer` both train the student; a row
that is in both is no leak.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mmkd.data._near_images import Print, near_images
from mmkd.data._near_texts import near_texts, plain

PROTECTION = {"train": 0, "transfer": 0, "validation": 1, "test": 2}
"""Splits with the same number are one for leaks; of two others the lower loses its row."""

FEWEST_WORDS = 4
"""Words from which on the text of a row that also has an image can leak: shorter ones, such as "when you" or a
site's name read from a picture, recur by chance, and the image makes them different rows. A row that is all text
leaks with any text."""


@dataclass(frozen=True, slots=True)
class RowPrint:
    """What is compared of a row. row: its position in the split, from 0; image: from `check_image`, None without."""

    split: str
    row: int
    words: tuple[str, ...]
    image: Print | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Leak:
    """One finding, in `detail` for people. one: (split, row) of the row to leave out; other: a row that it repeats."""

    reason: str
    one: tuple[str, int]
    other: tuple[str, int]
    detail: str


def leaks(rows: Sequence[RowPrint]) -> list[Leak]:
    """Every leak, at most one for each row and reason, by reason and then in the order of the rows.

    Texts are equal when their words are, after Unicode NFC. A row whose text (image) leaks exactly is not looked at
    for a near text (image).
    """
    texts = [_text(row) for row in rows]
    exact_texts = list(_across(rows, [_leaking_text(row, text) for row, text in zip(rows, texts, strict=True)]))
    exact_images = list(_across(rows, [row.image and row.image.digest for row in rows]))
    groups = _across(rows, [row.group for row in rows])
    return [
        *(_leak("row_repeated", rows, pair, "the same text and image") for pair in _repeated(rows, texts)),
        *(_leak("text_across_splits", rows, pair, "the same text") for pair in exact_texts),
        *(_leak("image_across_splits", rows, pair, "the same image") for pair in exact_images),
        *_near_texts_across(rows, {one for one, _ in exact_texts}),
        *_near_images_across(rows, {one for one, _ in exact_images}),
        *(_leak("group_across_splits", rows, (a, b), f"the group {rows[a].group!r}") for a, b in groups),
    ]


def _text(row: RowPrint) -> str:
    return " ".join(unicodedata.normalize("NFC", " ".join(row.words)).split())


def _leaking_text(row: RowPrint, text: str) -> str | None:
    short = row.image is not None and len(row.words) < FEWEST_WORDS
    return None if short or not text else text


def _repeated(rows: Sequence[RowPrint], texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Places (row, earlier row of the same split) with equal text and image."""
    first: dict[Hashable, int] = {}
    for place, (row, text) in enumerate(zip(rows, texts, strict=True)):
        if text or row.image:
            earlier = first.setdefault((row.split, text, row.image and row.image.digest), place)
            if earlier != place:
                yield place, earlier


def _across(rows: Sequence[RowPrint], keys: Sequence[Hashable]) -> Iterator[tuple[int, int]]:
    """Places (row, row of a more protected split) with equal keys; None is no key."""
    best: dict[Hashable, int] = {}
    for place, key in enumerate(keys):
        if key is not None:
            known = best.setdefault(key, place)
            if PROTECTION[rows[place].split] > PROTECTION[rows[known].split]:
                best[key] = place
    for place, key in enumerate(keys):
        if key is not None and PROTECTION[rows[best[key]].split] > PROTECTION[rows[place].split]:
            yield place, best[key]


def _near_texts_across(rows: Sequence[RowPrint], known: set[int]) -> Iterator[Leak]:
    compared = [plain(row.words) for row in rows]
    for one, other in _sides(rows, (place for place in range(len(rows)) if compared[place]), known):
        found, share = near_texts([compared[place] for place in one], [compared[place] for place in other])
        for at in np.flatnonzero(found >= 0):
            what = f"nearly the same text: {share[at]:.2f} of the pieces of four letters are in both"
            yield _leak("text_near_across_splits", rows, (one[at], other[found[at]]), what)


def _near_images_across(rows: Sequence[RowPrint], known: set[int]) -> Iterator[Leak]:
    for one, other in _sides(rows, (place for place, row in enumerate(rows) if row.image), known):
        found, alike = near_images([_image(rows[place]) for place in one], [_image(rows[place]) for place in other])
        for at in np.flatnonzero(found >= 0):
            what = f"nearly the same image: correlation {alike[at]:.3f} of the thumbnails"
            yield _leak("image_near_across_splits", rows, (one[at], other[found[at]]), what)


def _image(row: RowPrint) -> Print:
    assert row.image is not None
    return row.image


def _sides(rows: Sequence[RowPrint], places: Iterable[int], known: set[int]) -> Iterator[tuple[list[int], list[int]]]:
    """For each level of protection: the rows that are not `known` yet, and all rows of the levels above."""
    levels: dict[int, list[int]] = {level: [] for level in sorted(set(PROTECTION.values()))}
    for place in places:
        levels[PROTECTION[rows[place].split]].append(place)
    for level, members in levels.items():
        above = [place for higher, others in levels.items() if higher > level for place in others]
        yield [place for place in members if place not in known], above


def _leak(reason: str, rows: Sequence[RowPrint], pair: tuple[int, int], detail: str) -> Leak:
    one, other = rows[pair[0]], rows[pair[1]]
    return Leak(reason, (one.split, one.row), (other.split, other.row), detail)
