"""What a data source gives: examples, as read, before any tokenizer or tensor. No torch here."""

from __future__ import annotations

import abc
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from mmkd.config.local import is_inside
from mmkd.data._code import code_files
from mmkd.data.findings import Finding
from mmkd.errors import MmkdError

if TYPE_CHECKING:
    from mmkd.config.section import Section
    from mmkd.data.card import Card

Split = Literal["train", "transfer", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
"""Labelled training rows; rows where only teachers speak; rows that select; rows opened once, at the end."""

MODALITIES = ("text", "image")

Label = int | float | tuple[int, ...] | frozenset[int]
"""By the card's kind of task: classify, ordinal: an index into the label names. tag: one index per word.
multilabel: the indices of the labels that hold. regress: the value."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data set.

    words: the text, already split into words; `()` when the row has no text.
    image: reads the encoded image file (PNG, JPEG, WebP ...) when called; None when the row has no image.
    labels: task name to label. A task that is not in the map is not labelled for this row.
    group: rows of one group belong together (a document, an author); None: the row stands alone.
    file, row: where the row stands, below the data root and as a line from 1; None for a row that was made.
    image_name: of the image in its archive or folder.
    """

    id: str
    words: tuple[str, ...]
    image: Callable[[], bytes] | None
    labels: Mapping[str, Label]
    group: str | None = None
    file: str | None = None
    row: int | None = None
    image_name: str | None = None


class DataError(MmkdError):
    """Data that cannot be used as its card says. file, row (a line, from 1) and field are None where there is none."""

    def __init__(self, file: Path | str | None, row: int | None, field: str | None, message: str) -> None:
        """message: what was found, what was expected and what to do."""
        super().__init__(file, row, field, message)
        self.file, self.row, self.field, self.message = file, row, field, message

    def __str__(self) -> str:
        """`file:row: field: message`, without the parts that there are not."""
        place = ":".join(str(part) for part in (self.file, self.row) if part is not None)
        return ": ".join(part for part in (place, self.field, self.message) if part)


def path_below(root: Path, name: str, named_by: Path) -> Path:
    """Where a file that a card names lies. root: the data root. named_by: the card.

    Raises DataError for a name, or a link, that leads out of the data root.
    """
    path = root / name
    if not is_inside(name) or not path.resolve().is_relative_to(root.resolve()):
        message = f"{name} leads out of the data root {root}; expected a file in it; put the file itself there"
        raise DataError(named_by, None, "files", message)
    return path


class Source(abc.ABC):
    """Reads one data set, as its card defines it. A plug-in: `source.kind` of a card is a file of this folder.

    A plug-in file holds a `Config` (the card's `source` keys, which an experiment's `options` may override) and
    one class named `Source`.
    """

    def __init__(self, config: Section, card: Card, root: Path | None) -> None:
        """root: the data root (`MMKD_DATA`), None when it is not set or the source reads no files."""
        self.config, self.card, self.root = config, card, root

    @abc.abstractmethod
    def read(self, split: str) -> Iterator[Example | Finding]:
        """Yield the rows of a split in a fixed order: an example, or what makes the row unusable.

        Nothing is yielded for no row, and nothing else in a row's place.
        Raises DataError for a file that cannot be read at all.
        """

    def files(self, split: str) -> tuple[str, ...]:
        """Files that the rows of a split are read from, below the root; none for a source that makes its rows."""
        return ()

    def fingerprint(self, split: str) -> str:
        """A sha256 that changes with anything that changes the rows of a split: config, code, and files read.

        Files count by the sha256 that the card gives them, which `check_files` compares with what is there. The code
        is the source's own file and what it imports of its own folder, not other packages.
        """
        parts = [split.encode(), self.config.model_dump_json().encode()]
        parts += [path.read_bytes() for path in code_files(Path(inspect.getfile(type(self))), type(self).__module__)]
        parts += [f"{name} {self.card.files[name].sha256}".encode() for name in self.files(split)]
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    def ceilings(self, split: str) -> dict[str, dict[str, dict[str, float]]] | None:
        """Best reachable score, where the source knows it: task -> metric -> "text", "image" or "both" -> score."""
        return None
