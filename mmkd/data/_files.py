"""What sources that read a text file for each split share. No torch here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from mmkd.config.section import Plugin
from mmkd.data import base
from mmkd.data.base import DataError

if TYPE_CHECKING:
    from mmkd.data.card import Card


class FileConfig(Plugin):
    """splits: split -> path below the data root."""

    splits: Annotated[dict[Literal["train", "transfer", "validation", "test"], str], Field(min_length=1)]


class FileSource(base.Source):
    """A source with one text file, UTF-8, for each split."""

    config: FileConfig

    def __init__(self, config: FileConfig, card: Card, root: Path | None) -> None:
        """root: may be None as long as nothing is read."""
        super().__init__(config, card, root)
        self.label_index = {
            name: {label: index for index, label in enumerate(task.labels)} for name, task in card.tasks.items()
        }

    def files(self, split: str) -> tuple[str, ...]:
        """The split's own file; none when the card's source has no such split."""
        return tuple(file for name, file in self.config.splits.items() if name == split)

    def fingerprint(self, split: str) -> str:
        """A sha256 of the files, the config, the code, and the tasks with their labels, which labels index into."""
        tasks = repr([(name, task.kind, task.labels) for name, task in sorted(self.card.tasks.items())])
        return hashlib.sha256(f"{super().fingerprint(split)} {tasks}".encode()).hexdigest()

    def path(self, name: str) -> Path:
        """Where a file of the card lies.

        Raises DataError when there is no data root.
        """
        if self.root is None:
            raise DataError(self.card.path, None, "files", f"MMKD_DATA is not set; expected the folder of {name}")
        return self.root / name

    def split_path(self, split: str) -> Path:
        """Where the split's own file lies.

        Raises DataError when the card has no such split, or there is no data root.
        """
        for name, file in self.config.splits.items():
            if name == split:
                return self.path(file)
        known = ", ".join(self.config.splits)
        raise DataError(self.card.path, None, "mmkd.source.splits", f"found no split {split!r}; expected {known}")

    def lines(self, split: str) -> Iterator[tuple[int, str]]:
        """The lines of a split's file, numbered from 1, without their ends.

        Raises DataError when the card has no such split, or when the file is not there or is not UTF-8.
        """
        path = self.split_path(split)
        try:
            with path.open("rb") as file:
                # Only \n ends a line: some texts hold other characters that Python also takes for line ends.
                for row, line in enumerate(file, 1):
                    yield row, self._decode(path, row, line).rstrip("\r\n")
        except OSError as error:
            raise DataError(path, None, None, f"cannot be read: {error.strerror}; get the file again") from error

    def _decode(self, path: Path, row: int, line: bytes) -> str:
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(path, row, None, f"found byte {error.start} that is not UTF-8; expected UTF-8") from error
