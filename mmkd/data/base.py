"""What a data source gives: examples, as read, before any tokenizer or tensor. No torch here."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from mmkd.config.section import Section
    from mmkd.data.card import Card

SPLITS = ("train", "transfer", "validation", "test")
"""Labelled training rows; rows where only teachers speak; rows that select; rows opened once, at the end."""

MODALITIES = ("text", "image")

Label = int | tuple[int, ...]
"""An index into the task's label names, or one index per word."""


@dataclass(frozen=True, slots=True)
class Example:
    """One row of a data set.

    words: the text, already split into words; `()` when the row has no text.
    image: reads the encoded image file (PNG, JPEG, WebP ...) when called; None when the row has no image.
    labels: task name to label. A task that is not in the map is not labelled for this row.
    """

    id: str
    words: tuple[str, ...]
    image: Callable[[], bytes] | None
    labels: Mapping[str, Label]


class Source(abc.ABC):
    """Reads one data set, as its card defines it. A plug-in: `source.kind` of a card is a file of this folder.

    A plug-in file holds a `Config` (the card's `source` keys, which an experiment's `options` may override) and
    one class named `Source`.
    """

    def __init__(self, config: Section, card: Card, root: Path | None) -> None:
        """root: the data root (`MMKD_DATA`), None when it is not set or the source reads no files."""
        self.config, self.card, self.root = config, card, root

    @abc.abstractmethod
    def read(self, split: str) -> Iterator[Example]:
        """Yield the rows of a split in a fixed order.

        Raises DataError naming file, row and field for a row that cannot be used as the card says.
        """

    def ceilings(self, split: str) -> dict[str, dict[str, dict[str, float]]] | None:
        """Best reachable score, where the source knows it: task -> metric -> "text", "image" or "both" -> score."""
        return None
