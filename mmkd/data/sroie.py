"""`sroie`: scanned receipts with four fields to find in their words (Huang and others, ICDAR 2019 competition on
scanned receipt OCR and information extraction, https://arxiv.org/abs/2103.10213).

A zip holds, for each receipt, `box/NNN.csv` (eight coordinates of a box and its transcript, a line each) and
`key/NNN.json` (the values of the fields). The set says what a field's value is, and not which words hold it: `tags`
finds them, by rules that are this suite's own. A receipt with a field that is not found gets no label at all, since O
would be wrong for that field's words. No torch here.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mmkd.data._files import LONGEST_LINE, FileConfig, FileSource, RowProblem, finding
from mmkd.data._images import Images, ZipImages
from mmkd.data._json import parse
from mmkd.data.base import DataError, Example, Label
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source", "Transcript", "tags"]

FIELDS = ("company", "date", "address", "total")
TASK = "fields"
PLACES = 8
"""Numbers before the transcript: x and y of four corners, clockwise from the upper left one."""

AMOUNT = re.compile(r"(?<![\d.,/:])(?:\d[\d,]*)?\.\d+(?![\d/:]|\.\d)")
"""A number with a decimal point, and no part of a date, a time or a longer number."""


class Config(FileConfig):
    """splits: split -> the zip archive with `box` and `key`. images: the zip archive with `NNN.webp`."""

    kind: Literal["sroie"] = "sroie"
    images: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """The text of one box. top, bottom: of the box, in pixels, downwards."""

    top: int
    bottom: int
    text: str


class Source(FileSource):
    """Reads the receipts in the order of their numbers. Words stand in the order of the boxes' file.

    A receipt's group is its company: receipts of one shop share its name, address and form.
    """

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when the card does not have the one task `fields`, of the kind tag, with the four types."""
        super().__init__(config, card, root)
        expected = {"O", *(f"{place}-{field.upper()}" for field in FIELDS for place in "BI")}
        task = card.tasks.get(TASK)
        if task is None or len(card.tasks) > 1 or task.kind != "tag" or set(task.labels) != expected:
            message = f"expected one task named {TASK}, of the kind tag, with the labels {', '.join(sorted(expected))}"
            raise DataError(card.path, None, "mmkd.tasks", message)
        self._images: Images | None = None if root is None else ZipImages(self.path(config.images))

    def files(self, split: str) -> tuple[str, ...]:
        """The split's archives of annotations, and the one of images."""
        own = super().files(split)
        return (*own, self.config.images) if own else ()

    def read(self, split: str) -> Iterator[Example | Finding]:
        """Yield the receipts of a split. `transfer` gets no labels.

        Raises DataError when an archive is not there or is damaged.
        """
        for file in self.own_files(split):
            with self._opened(file) as archive:
                names = (re.fullmatch(r"(?:box|key)/([^/]+)\.(?:csv|json)", name) for name in archive.namelist())
                for name in sorted({found[1] for found in names if found}):
                    try:
                        yield self._receipt(split, file, archive, name)
                    except RowProblem as problem:
                        yield finding(problem, split, file, None, name)

    def _opened(self, file: str) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path(file))
        except (OSError, zipfile.BadZipFile) as error:
            message = f"cannot be read as a zip archive: {error}; get the archive again"
            raise DataError(self.path(file), None, None, message) from error

    def _receipt(self, split: str, file: str, archive: zipfile.ZipFile, name: str) -> Example:
        box, key, image = f"box/{name}.csv", f"key/{name}.json", f"{name}.webp"
        transcripts = list(_transcripts(box, self._text(archive, box)))
        values = _values(key, self._text(archive, key))
        if self._images is None or not self._images.has(image):
            raise RowProblem("image_missing", "image", f"found no image {image!r} in {self.config.images}")
        found = None if split == "transfer" else tags(transcripts, values)
        index = self.label_index[TASK]
        labels: dict[str, Label] = {} if found is None else {TASK: tuple(index[tag] for tag in found)}
        words = tuple(word for transcript in transcripts for word in transcript.text.split())
        group = " ".join(_pieces(values["company"])).lower() if "company" in values else None
        return Example(name, words, partial(self._images.read, image), labels, group, file, None, image)

    def _text(self, archive: zipfile.ZipFile, member: str) -> str:
        if member not in archive.NameToInfo:
            raise RowProblem("column_missing", member, "found no such file in the archive")
        if archive.getinfo(member).file_size > LONGEST_LINE:
            raise RowProblem("row_too_long", member, f"found more than {LONGEST_LINE:,} bytes; expected one receipt")
        try:
            return archive.read(member).decode(self.config.encoding)
        except UnicodeDecodeError as error:
            raise RowProblem("row_not_utf8", member, f"found {error}; expected {self.config.encoding}") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise RowProblem("row_unreadable", member, f"{error}; get the archive again") from error


def tags(transcripts: Sequence[Transcript], values: Mapping[str, str]) -> list[str] | None:
    """BIO tags of the words of a receipt, by the values of its fields; None when a field is absent or not found.

    company, date, address: every place where the value's letters and digits stand in order, in any case, across
    boxes, and whatever else stands between its runs of letters and of digits; a word belongs to the field when it
    holds a part of it (`SDN BHD(728384-M)`). total: every word with that amount in a box beside which "total" stands,
    on the box's line of the receipt; where there is none, the last word with that amount. A place that shares a word
    with one of an earlier field is no place.
    """
    count = sum(len(transcript.text.split()) for transcript in transcripts)
    found = ["O"] * count
    for field in FIELDS:
        value = values.get(field, "")
        places = _places_of_total(transcripts, value) if field == "total" else _places_of_text(transcripts, value)
        free = [(first, end) for first, end in places if set(found[first:end]) == {"O"}]
        if not free:
            return None
        for first, end in free:
            found[first:end] = [f"B-{field.upper()}"] + [f"I-{field.upper()}"] * (end - first - 1)
    return found


def _places_of_text(transcripts: Sequence[Transcript], value: str) -> list[tuple[int, int]]:
    """First word of each place that holds the value, and the one after its last."""
    pieces = _pieces(value)
    if not pieces:
        return []
    pattern = re.escape(pieces[0])
    for before, after in pairwise(pieces):
        # Two numbers need something between them: 1/12 is not 11/2.
        pattern += (r"[\W_]+" if before[-1].isdigit() and after[0].isdigit() else r"[\W_]*") + re.escape(after)
    start, end = (r"\d" if edge.isdigit() else r"[^\W\d_]" for edge in (pieces[0][0], pieces[-1][-1]))
    words = [word for transcript in transcripts for word in transcript.text.split()]
    text, owner = " ".join(words), [number for number, word in enumerate(words) for _ in f"{word} "]
    matches = re.finditer(f"(?<!{start}){pattern}(?!{end})", text, re.IGNORECASE)
    return [(owner[match.start()], owner[match.end() - 1] + 1) for match in matches]


def _places_of_total(transcripts: Sequence[Transcript], value: str) -> list[tuple[int, int]]:
    """The words that hold the total, each as a place of its own."""
    total = _amounts(value)
    every, beside_total, number = [], [], 0
    for transcript in transcripts:
        for word in transcript.text.split():
            if total and total[0] in _amounts(word):
                every.append((number, number + 1))
                if any("total" in other.text.lower() for other in _line_of(transcript, transcripts)):
                    beside_total.append((number, number + 1))
            number += 1
    return beside_total or every[-1:]


def _line_of(transcript: Transcript, others: Sequence[Transcript]) -> list[Transcript]:
    """The boxes on a box's line of the receipt: those that its middle height runs through, itself among them."""
    middle = (transcript.top + transcript.bottom) / 2
    return [other for other in others if other.top <= middle <= other.bottom]


def _amounts(text: str) -> list[Decimal]:
    return [Decimal(found.replace(",", "")) for found in AMOUNT.findall(text)]


def _pieces(text: str) -> list[str]:
    """Runs of letters and runs of digits, in order."""
    return re.findall(r"[^\W\d_]+|\d+", text)


def _transcripts(member: str, text: str) -> Iterator[Transcript]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        *corners, transcript = line.split(",", PLACES)
        try:
            heights = [int(corner) for corner in corners][1::2]
        except ValueError:
            heights = []
        if len(heights) != PLACES // 2:
            message = f"line {number}: found {line!r}; expected {PLACES} whole numbers and a transcript"
            raise RowProblem("row_unreadable", member, message)
        yield Transcript(min(heights), max(heights), transcript)


def _values(member: str, text: str) -> dict[str, str]:
    try:
        values: Any = parse(text)
    except ValueError as error:
        raise RowProblem("row_unreadable", member, f"{error}; expected one JSON object") from error
    if not isinstance(values, dict) or not all(isinstance(value, str) for value in values.values()):
        raise RowProblem("column_type", member, f"found {text[:80]!r}; expected an object with texts")
    return values
