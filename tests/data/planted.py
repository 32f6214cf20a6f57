"""Makes a data set with planted defects: a table of text lines, an archive of images, and the card over them.

A plant takes a good row and spoils it in one way; not to spoil it is its repair. Each spoiled row is one line of its
file, between good ones, so that what is found can be compared with where it was put.
"""

from __future__ import annotations

import hashlib
import io
import json
import random
import unicodedata
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import made_images
import numpy as np
from PIL import Image

from mmkd.data.card import Card, open_source, read_card
from mmkd.data.dataset import DataSet

FOLDER = "planted"
MOODS = ("bad", "flat", "good")
TAGS = ("O", "B-PER", "I-PER", "B-ORG", "I-ORG")
TASKS = {
    "mood": {"kind": "classify", "labels": list(MOODS)},
    "names": {"kind": "tag", "labels": list(TAGS), "scheme": "BIO"},
    "score": {"kind": "regress", "range": [-1, 1]},
}
SOURCE = {
    "kind": "jsonl",
    "id": "id",
    "words": "words",
    "group": "group",
    "image": {"column": "image", "archive": f"{FOLDER}/images.zip"},
    "labels": {name: {"column": name} for name in TASKS},
}


@dataclass(frozen=True)
class Row:
    """A row as it is written. content: of its image in the archive; None: the archive has none of that name.

    line: stands in the file in place of the columns. damaged: the archive's bytes of the image are changed afterwards.
    """

    id: Any
    words: Any
    image: str | None
    content: bytes | None
    group: Any
    mood: Any
    names: Any
    score: Any
    line: bytes | None = None
    without: tuple[str, ...] = ()
    damaged: bool = False

    def written(self) -> bytes:
        """The line, without its end."""
        if self.line is not None:
            return self.line
        columns = ("id", "words", "image", "group", "mood", "names", "score")
        values = {name: getattr(self, name) for name in columns if name not in self.without}
        # A lone half of a pair cannot be written but as an escape.
        whole = json.dumps(values, ensure_ascii=False)
        return whole.encode() if whole.isprintable() else json.dumps(values).encode()


Others = Mapping[str, Row]
"""Split -> its first row, which is good, long, and has an image."""


@dataclass(frozen=True)
class Plant:
    """One defect. reason: why the row is left out; also: what else is found in it. split: None: any labelled one.

    named: whether the row's id can be read, and is given.
    """

    name: str
    reason: str
    spoil: Callable[[Row, Others], Row]
    split: str | None = None
    also: tuple[str, ...] = ()
    named: bool = True


@dataclass(frozen=True)
class Built:
    """A data set as it was written. rows: split -> its rows in order, with the plant of those that are spoiled."""

    root: Path
    card: Card
    rows: dict[str, list[tuple[Row, Plant | None]]] = field(repr=False)

    def good(self, split: str) -> list[Row]:
        return [row for row, plant in self.rows[split] if plant is None]

    def expected(self) -> list[tuple[str, str, str, int, str | None]]:
        """(reason, split, file, line, id) of everything that must be found."""
        return sorted(
            (
                (reason, split, f"{FOLDER}/{split}.jsonl", number, row.id if plant.named else None)
                for split, rows in self.rows.items()
                for number, (row, plant) in enumerate(rows, 1)
                if plant is not None
                for reason in (plant.reason, *plant.also)
            ),
            key=str,
        )

    def opened(self, folder: Path, policy: Mapping[str, Any]) -> DataSet:
        """folder: of the checks."""
        return DataSet(self.card, open_source(self.card, {}, self.root), folder, policy)


def good_row(split: str, number: int, long: bool = False) -> Row:
    """A row like no other: words of random letters, a picture of random dots; every fifth has no image."""
    generator = np.random.default_rng([number, *split.encode()])
    count = 24 if long else int(generator.integers(6, 12))
    letters = generator.integers(ord("a"), ord("z") + 1, (count, 6))
    words = ["".join(map(chr, word)) for word in letters]
    words[0] = "café" if long else ("Zoë", "東京", "🙂", "I-beam")[number % 4]
    tags = [TAGS[each] for each in [1, 2, 3, 0, 4 - 1][: count % 5]] + ["O"] * count
    has_image = long or number % 5 != 4
    return Row(
        id=f"{split}/{number:04}",
        words=words,
        image=f"{split}{number:04}.png" if has_image else None,
        content=png(generator.integers(0, 256, (16, 16, 3), np.uint8)) if has_image else None,
        group=f"{split} document {number // 3}" if number % 2 else None,
        mood=MOODS[number % 3],
        names=tags[:count],
        score=round(float(generator.uniform(-1, 1)), 4),
    )


def png(pixels: np.ndarray, **options: Any) -> bytes:
    return made_images.encoded(Image.fromarray(pixels), "PNG", **options)


def pixels_of(row: Row) -> np.ndarray:
    assert row.content is not None
    return np.asarray(Image.open(io.BytesIO(row.content)))


def build(root: Path, sizes: Mapping[str, int], plants: Sequence[Plant], repaired: bool = False) -> Built:
    """Write so many good rows of each split, the plants among them, and the card.

    repaired: the plants' rows are as they were before they were spoiled.
    """
    order = random.Random(0)
    rows: dict[str, list[tuple[Row, Plant | None]]] = {
        split: [(good_row(split, number, long=number == 0), None) for number in range(size)]
        for split, size in sizes.items()
    }
    others = {split: members[0][0] for split, members in rows.items() if members}
    labelled = [split for split in sizes if split != "transfer"]
    for number, plant in enumerate(plants):
        split = plant.split or labelled[number % len(labelled)]
        row = replace(good_row(split, 5 * (2000 + number), long=True), group=None)
        spoiled = row if repaired else plant.spoil(row, others | {"own": others.get(split, row)})
        rows[split].insert(order.randint(min(1, len(rows[split])), len(rows[split])), (spoiled, plant))
    (root / FOLDER).mkdir(parents=True)
    for split, members in rows.items():
        lines = b"".join(row.written() + b"\n" for row, _ in members)
        (root / FOLDER / f"{split}.jsonl").write_bytes(lines)
    write_images(root / FOLDER / "images.zip", [row for members in rows.values() for row, _ in members])
    splits = {split: f"{FOLDER}/{split}.jsonl" for split in sizes}
    return Built(root, card(root, SOURCE | {"splits": splits}, TASKS, {name: len(rows[name]) for name in rows}), rows)


def write_images(path: Path, rows: Sequence[Row]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for row in rows:
            if row.image is not None and row.content is not None:
                file.writestr(row.image, row.content)
    whole = bytearray(path.read_bytes())
    for row in rows:
        if row.damaged and row.content is not None:
            whole[whole.index(row.content) + len(row.content) // 2] ^= 1
    path.write_bytes(whole)


def card(
    root: Path, source: Mapping[str, Any], tasks: Mapping[str, Any], splits: Mapping[str, int], **block: Any
) -> Card:
    """A card over all the files below the root, in `data_cards` beside it. block: further keys of `mmkd`."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    front = {
        "pretty_name": "Planted",
        "license": "cc0-1.0",
        "mmkd": {
            "version": 1,
            "source": dict(source),
            "files": {name: {"sha256": hashlib.sha256((root / name).read_bytes()).hexdigest()} for name in names},
            "obtain": "made by the test",
            "modalities": ["text", "image"],
            "tasks": dict(tasks),
            "splits": dict(splits),
            "pii": {"present": False},
            **block,
        },
    }
    path = root.parent / "data_cards" / "planted.md"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"---\n{json.dumps(front, indent=1)}\n---\n\nPlanted.\n", "utf-8")
    return read_card(path)


def having(**changes: Any) -> Callable[[Row, Others], Row]:
    """Spoils a row by other values."""
    return lambda row, others: replace(row, **changes)


def line(change: Callable[[bytes], bytes]) -> Callable[[Row, Others], Row]:
    """Spoils the line itself; the row's image stays in the archive."""
    return lambda row, others: replace(row, line=change(row.written()))


def with_word(word: Any) -> Callable[[Row, Others], Row]:
    return lambda row, others: replace(row, words=[*row.words[:3], word, *row.words[4:]])


def tagged(*tags: str) -> Callable[[Row, Others], Row]:
    """Other tags for the first words."""
    return lambda row, others: replace(row, names=[*tags, *["O"] * (len(row.words) - len(tags))])


def pictured(name: str, content: bytes, **changes: Any) -> Callable[[Row, Others], Row]:
    """Another image, whose name ends so."""
    return lambda row, others: replace(row, image=f"{row.image}{name}", content=content, **changes)


def _cut(data: bytes, share: float = 0.6) -> bytes:
    return data[: int(len(data) * share)]


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _decomposed(row: Row) -> list[str]:
    words = [unicodedata.normalize("NFD", word) for word in row.words]
    assert words != row.words
    return words


def _brighter(row: Row) -> bytes:
    return png((pixels_of(row) * 0.9 + 20).astype(np.uint8))


def _enlarged(row: Row) -> bytes:
    return png(pixels_of(row).repeat(2, 0).repeat(2, 1))


def _webp(row: Row) -> bytes:
    return made_images.encoded(Image.fromarray(pixels_of(row)), "WEBP", lossless=True)


PICTURE = made_images.noise(48, 40)
WHOLE = made_images.whole_files()
ALPHA = PICTURE.copy()
ALPHA.putalpha(Image.linear_gradient("L").resize(ALPHA.size))
SEEN_THROUGH = PICTURE.quantize(8)
SEEN_THROUGH.info["transparency"] = 0

PLANTS = [
    Plant("broken JSON", "row_unreadable", line(lambda text: text[:-2]), named=False),
    Plant("an empty line", "row_unreadable", line(lambda text: b""), named=False),
    Plant("a list for an object", "row_unreadable", line(lambda text: b"[" + text + b"]"), named=False),
    Plant("two objects on a line", "row_unreadable", line(lambda text: text + text), named=False),
    Plant("a field twice", "row_unreadable", line(lambda text: text[:-1] + b', "mood": "bad"}'), named=False),
    Plant("a control in a string", "row_unreadable", line(lambda text: text[:9] + b"\r" + text[9:]), named=False),
    Plant("Latin-1", "row_not_utf8", line(lambda text: text.replace("é".encode(), b"\xe9")), named=False),
    Plant("half of a letter", "row_not_utf8", line(lambda text: text.replace("é".encode(), b"\xc3")), named=False),
    Plant("2 MB", "row_too_long", line(lambda text: text.replace(b"caf", b"c" * 2_000_000)), named=False),
    Plant("no words and no image", "row_empty", having(words=[], names=[], image=None)),
    Plant("no column of words", "column_missing", having(without=("words",))),
    Plant("no column of labels", "column_missing", having(without=("score",))),
    Plant("no column of ids", "column_missing", having(without=("id",)), named=False),
    Plant("a text for a list of words", "column_type", having(words="a text of words")),
    Plant("null among the words", "column_type", with_word(None)),
    Plant("a list for a label", "column_type", having(mood=["bad"])),
    Plant("a text for tags", "column_type", having(names="O")),
    Plant("an object for an image", "column_type", having(image={"bytes": "", "path": "a.png"}, content=None)),
    Plant("a list for a group", "column_type", having(group=["one", "two"])),
    Plant("null for an id", "id_missing", having(id=None), named=False),
    Plant("an empty id", "id_missing", having(id=""), named=False),
    Plant("an id of white space", "id_missing", having(id=" \t"), named=False),
    Plant("the first row's id", "id_repeated", lambda row, others: replace(row, id=others["own"].id)),
    Plant("a label of another set", "label_unknown", having(mood="happy")),
    Plant("a label in capitals", "label_unknown", having(mood="Bad")),
    Plant("a label's number", "label_unknown", having(mood=1)),
    Plant("a label that is null", "label_unknown", having(mood=None)),
    Plant("a tag of another set", "label_unknown", tagged("B-LOC")),
    Plant("a value out of range", "label_unknown", having(score=1.5)),
    Plant("NaN", "label_not_a_number", having(score=float("nan"))),
    Plant("infinity", "label_not_a_number", having(score=float("inf"))),
    Plant("a word for a value", "label_not_a_number", having(score="n/a")),
    Plant("a truth value for a value", "label_not_a_number", having(score=True)),
    Plant("a tag too few", "label_count", lambda row, others: replace(row, names=row.names[1:])),
    Plant("a tag too many", "label_count", lambda row, others: replace(row, names=[*row.names, "O"])),
    Plant("an I- tag at the start", "label_bio", tagged("I-PER", "O")),
    Plant("an I- tag of another type", "label_bio", tagged("B-PER", "I-ORG")),
    Plant("an I- tag after a gap", "label_bio", tagged("B-PER", "O", "I-PER")),
    Plant("a NUL word", "text_nul", with_word("\0")),
    Plant("NUL inside a word", "text_nul", with_word("wo\0rd")),
    Plant("a lone high surrogate", "text_surrogate", with_word("\ud800")),
    Plant("a lone low surrogate in a word", "text_surrogate", with_word("wo\udc00rd")),
    Plant("a surrogate in the id", "text_surrogate", having(id="\ud83d"), named=False),
    Plant("a surrogate in the group", "text_surrogate", having(group="\ud83d")),
    Plant("an empty word", "word_empty", with_word("")),
    Plant("a word of white space", "word_empty", with_word("\u3000 ")),
    Plant("a zero-width space", "text_zero_width", with_word("\u200b")),
    Plant("a byte order mark for a word", "text_zero_width", with_word("\ufeff")),
    Plant("a soft hyphen for a word", "text_zero_width", with_word("\u00ad")),
    Plant("Arabic", "text_right_to_left", with_word("سلام")),
    Plant("Hebrew", "text_right_to_left", with_word("שלום")),
    Plant("an override", "text_right_to_left", with_word("ab\u202ecd")),
    Plant("no words beside an image", "text_empty", having(words=[], names=[])),
    Plant("not in the archive", "image_missing", having(content=None)),
    Plant("a path out of the archive", "image_missing", having(image="../images.zip", content=None)),
    Plant("zero bytes", "image_empty", pictured(".jpg", b"")),
    Plant("a text named .jpg", "image_not_an_image", pictured(".jpg", b"not found, sorry\n")),
    Plant("a page named .png", "image_not_an_image", pictured(".png", b"<!DOCTYPE html><title>404</title>")),
    Plant("a PDF named .jpg", "image_not_an_image", pictured(".jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")),
    Plant("a PostScript program", "image_not_an_image", pictured(".eps", made_images.encoded(PICTURE, "EPS"))),
    *(
        Plant(f"half a file: {kind}", "image_truncated", pictured(".img", _cut(WHOLE[kind])))
        for kind in ("jpeg", "jpeg progressive", "png", "webp", "webp lossless", "gif", "bmp")
    ),
    Plant("a JPEG without its last byte", "image_truncated", pictured(".jpg", WHOLE["jpeg"][:-1])),
    Plant("a PNG without its end", "image_truncated", pictured(".png", WHOLE["png"][:-12])),
    Plant("a bit of a PNG", "image_corrupt", pictured(".png", _flipped(WHOLE["png"], len(WHOLE["png"]) // 2))),
    Plant("a checksum of the archive", "image_corrupt", pictured(".png", WHOLE["png"], damaged=True)),
    Plant("a JPEG without tables", "image_corrupt", pictured(".jpg", WHOLE["jpeg"].replace(b"\xff\xdb", b"\xff\xe9"))),
    Plant("a WebP without its start", "image_corrupt",
          pictured(".webp", WHOLE["webp"][:20] + bytes(10) + WHOLE["webp"][30:])),
    Plant("60,000 pixels a side", "image_bomb", pictured(".png", made_images.png(60000, 60000, 8, 2, b""))),
    Plant("one row too many", "image_bomb", pictured(".png", made_images.png(8192, 8193, 1, 0, b""))),
    Plant("an animated GIF", "image_animated", pictured(".gif", made_images.frames("GIF")), also=("image_palette",)),
    Plant("an animated WebP", "image_animated", pictured(".webp", made_images.frames("WEBP"))),
    Plant("an animated PNG", "image_animated", pictured(".png", made_images.frames("PNG"))),
    Plant("a CMYK JPEG", "image_cmyk", pictured(".jpg", made_images.encoded(PICTURE.convert("CMYK"), "JPEG"))),
    Plant("a CMYK TIFF", "image_cmyk", pictured(".tif", made_images.encoded(PICTURE.convert("CMYK"), "TIFF"))),
    Plant("16 bits of colour", "image_16_bit", pictured(".png", made_images.rgb16((1, 2, 3), (60000, 5, 9)))),
    Plant("16 bits of grey", "image_16_bit", pictured(".png", made_images.encoded(Image.new("I;16", (9, 9)), "PNG"))),
    Plant("12 bits", "image_16_bit", pictured(".tif", made_images.tiff12(7, 4000))),
    Plant("a palette PNG", "image_palette", pictured(".png", made_images.encoded(PICTURE.quantize(9), "PNG")), "train"),
    Plant("a still GIF", "image_palette", pictured(".gif", WHOLE["gif"]), "train"),
    Plant("a palette with a gap", "image_palette", pictured(".png", made_images.encoded(SEEN_THROUGH, "PNG")),
          "train", also=("image_alpha",)),
    Plant("alpha in a PNG", "image_alpha", pictured(".png", made_images.encoded(ALPHA, "PNG")), "train"),
    Plant("alpha in a WebP", "image_alpha", pictured(".webp", made_images.encoded(ALPHA, "WEBP")), "train"),
    Plant("the first row again", "row_repeated",
          lambda row, others: replace(others["own"], id=row.id, group=None, content=None), split="train"),
    Plant("the first row, accents decomposed and image packed anew", "row_repeated",
          lambda row, others: replace(row, words=_decomposed(others["own"]), names=others["own"].names,
                                      content=png(pixels_of(others["own"]), compress_level=0)), split="test"),
    *(
        Plant(f"{split} has a text of {other}", "text_across_splits",
              lambda row, others, other=other: replace(row, words=others[other].words), split=split)
        for split, other in (("train", "test"), ("train", "validation"), ("transfer", "test"), ("validation", "test"))
    ),
    Plant("a text with accents decomposed", "text_across_splits",
          lambda row, others: replace(row, words=_decomposed(others["test"])), split="train"),
    *(
        Plant(f"{split} has an image of {other}", "image_across_splits",
              lambda row, others, other=other: replace(row, image=others[other].image, content=None), split=split)
        for split, other in (("train", "test"), ("validation", "test"))
    ),
    Plant("an image encoded anew", "image_across_splits",
          lambda row, others: replace(row, content=_webp(others["test"])), split="train"),
    Plant("one word of 24 changed", "text_near_across_splits",
          lambda row, others: replace(row, words=[*others["test"].words[:-1], "changed"]), split="train"),
    Plant("in capitals", "text_near_across_splits",
          lambda row, others: replace(row, words=[word.upper() for word in others["validation"].words]), split="train"),
    Plant("a brighter image", "image_near_across_splits",
          lambda row, others: replace(row, content=_brighter(others["test"])), split="train"),
    Plant("an enlarged image", "image_near_across_splits",
          lambda row, others: replace(row, content=_enlarged(others["test"])), split="validation"),
    *(
        Plant(f"{split} has a group of {other}", "group_across_splits",
              lambda row, others, other=other: replace(row, group=f"{other} document 0"), split=split)
        for split, other in (("train", "test"), ("transfer", "validation"), ("validation", "test"))
    ),
]  # fmt: skip
"""One row each; between them every reason that a row can have.

What has the same picture and is accepted lies in one split, since it would be found there as well.
"""
