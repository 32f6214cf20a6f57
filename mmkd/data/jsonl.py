"""`jsonl`: JSON Lines (https://jsonlines.org), one row a line, with images in a zip archive or a folder.

Ids, words and labels are text: numbers keep the digits that the file has. No torch here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from mmkd.config.problems import did_you_mean
from mmkd.config.section import Section
from mmkd.data import base
from mmkd.data._files import FileConfig, FileSource
from mmkd.data._images import FolderImages, Images, ZipImages
from mmkd.data.base import DataError, Example

if TYPE_CHECKING:
    from mmkd.data.card import Card

__all__ = ["Config", "Source"]


class ImageColumn(Section):
    """Where images are. column: holds the image's name; null in a row without an image.

    archive, folder: a zip file or a folder below the data root. A card lists every file of a folder that it uses.
    suffix: replaces the name's own ending, for images that were encoded anew (`.webp`).
    """

    column: str
    archive: str | None = None
    folder: str | None = None
    suffix: Annotated[str, Field(pattern=r"^\.[A-Za-z0-9]+$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.archive is None) == (self.folder is None):
            raise ValueError("expected one of `archive` and `folder`")
        return self


class LabelColumn(Section):
    """Where a task's labels are.

    item: position in the column's list, when the label stands in a list.
    values: raw value -> label name; null: the raw values are the label names.
    missing: raw values that mean "not labelled"; null stands for JSON's null.
    For a task of the kind `tag` the column is a list with one value for each word.
    """

    column: str
    item: Annotated[int, Field(ge=0)] | None = None
    values: dict[str, str] | None = None
    missing: Annotated[tuple[str | None, ...], Strict(False)] = ()


class Config(FileConfig):
    """Columns by name. text is split into words at white space; words holds a list of words instead."""

    kind: Literal["jsonl"] = "jsonl"
    id: str
    text: str | None = None
    words: str | None = None
    image: ImageColumn | None = None
    labels: dict[str, LabelColumn]

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if self.text is not None and self.words is not None:
            raise ValueError("found both `text` and `words`; expected one of them")
        if self.text is None and self.words is None and self.image is None:
            raise ValueError("expected at least one of `text`, `words` and `image`")
        return self


@dataclass(frozen=True)
class Row:
    """One line of a file, with its place."""

    file: Path
    number: int
    values: dict[str, Any]

    def error(self, field: str, message: str) -> DataError:
        """An error that names the file, the line and the field."""
        return DataError(self.file, self.number, field, message)

    def value(self, column: str) -> Any:
        """The value of a column. Raises DataError when the row lacks the column."""
        if column not in self.values:
            known = ", ".join(self.values)
            raise self.error(column, f"found no such field; expected one of {known}{did_you_mean(column, self.values)}")
        return self.values[column]

    def text(self, column: str) -> str:
        """The value of a column that must be text or a number."""
        return self.as_text(column, self.value(column))

    def as_text(self, column: str, value: Any) -> str:
        """The value. Raises DataError when it is not text."""
        if not isinstance(value, str):
            raise self.error(column, f"found {json.dumps(value)}; expected text")
        return value

    def items(self, column: str) -> list[Any]:
        """The value of a column that must be a list."""
        value = self.value(column)
        if not isinstance(value, list):
            raise self.error(column, f"found {json.dumps(value)}; expected a list")
        return value


class Source(FileSource):
    """Reads the rows in the order of the file. Rows of `transfer` get no labels, whatever the file has."""

    config: Config

    def __init__(self, config: Config, card: Card, root: Path | None) -> None:
        """Raises DataError when the card's tasks and the columns of `labels` do not fit together."""
        super().__init__(config, card, root)
        self._check_labels()
        self._images = self._open_images()

    def files(self, split: str) -> tuple[str, ...]:
        """The split's own file and the images: the archive, or each image of the folder that a row names."""
        own, column = super().files(split), self.config.image
        if not own or column is None:
            return own
        if column.archive is not None:
            return (*own, column.archive)
        names = {self._image_name(row, column) for row in self._rows(split)} - {None}
        return (*own, *sorted(f"{column.folder}/{name}" for name in names))

    def read(self, split: str) -> Iterator[Example]:
        """Yield the rows of a split.

        Raises DataError naming file, line and field for a row that cannot be used as the card says.
        """
        seen: dict[str, int] = {}
        for row in self._rows(split):
            name = row.text(self.config.id)
            if not name.strip() or name in seen:
                first = f", which line {seen[name]} has too" if name in seen else ""
                raise row.error(self.config.id, f"found {name!r}{first}; expected an id that no other row has")
            seen[name] = row.number
            words, image = self._words(row), self._image_of(row)
            if not words and image is None:
                raise row.error(self.config.id, f"row {name!r} has neither words nor an image; expected one of them")
            labels = {} if split == "transfer" else self._labels(row, words)
            reader = None if image is None or self._images is None else partial(self._images.read, image)
            yield Example(name, words, reader, labels)

    def _rows(self, split: str) -> Iterator[Row]:
        path = self.split_path(split)
        for number, line in self.lines(split):
            try:
                values = json.loads(
                    line, parse_int=str, parse_float=str, parse_constant=str, object_pairs_hook=_without_doubles
                )
            except ValueError as error:
                raise DataError(path, number, None, f"{error}; expected one JSON object on the line") from error
            if not isinstance(values, dict):
                raise DataError(path, number, None, "found no JSON object; expected one on each line")
            yield Row(path, number, values)

    def _words(self, row: Row) -> tuple[str, ...]:
        if self.config.words is not None:
            words = tuple(row.as_text(self.config.words, word) for word in row.items(self.config.words))
            if "" in words:
                raise row.error(self.config.words, f"word {words.index('')} is empty; expected words")
            return words
        if self.config.text is None or row.value(self.config.text) is None:
            return ()
        return tuple(row.text(self.config.text).split())

    def _open_images(self) -> Images | None:
        column = self.config.image
        if column is None or self.root is None:
            return None
        return ZipImages(self.root / column.archive) if column.archive else FolderImages(self.root / str(column.folder))

    def _image_of(self, row: Row) -> str | None:
        column = self.config.image
        name = None if column is None else self._image_name(row, column)
        if column is not None and name is not None and self._images is not None and not self._images.has(name):
            raise row.error(column.column, f"found no image {name!r} in {self._images.where}; get the images again")
        return name

    def _image_name(self, row: Row, column: ImageColumn) -> str | None:
        if row.value(column.column) is None:
            return None
        name = row.text(column.column)
        if not PurePosixPath(name).name:
            raise row.error(column.column, f"found {name!r}; expected the name of an image, or null")
        return str(PurePosixPath(name).with_suffix(column.suffix)) if column.suffix else name

    def _labels(self, row: Row, words: tuple[str, ...]) -> dict[str, base.Label]:
        labels: dict[str, base.Label] = {}
        for task, column in self.config.labels.items():
            raw = row.value(column.column)
            if None in column.missing and raw is None:
                continue
            if self.card.tasks[task].kind == "tag":
                tags = row.items(column.column)
                if len(tags) != len(words):
                    raise row.error(
                        column.column, f"found {len(tags)} labels; expected one for each of {len(words)} words"
                    )
                labels[task] = tuple(self._label(row, task, column, tag) for tag in tags)
                continue
            if column.item is not None:
                items = row.items(column.column)
                if column.item >= len(items):
                    raise row.error(column.column, f"found {len(items)} items; expected item {column.item}")
                raw = items[column.item]
            if raw not in column.missing:
                labels[task] = self._label(row, task, column, raw)
        return labels

    def _label(self, row: Row, task: str, column: LabelColumn, raw: Any) -> int:
        known = self.label_index[task] if column.values is None else column.values
        value = row.as_text(column.column, raw)
        if value not in known:
            expected = ", ".join(map(repr, known))
            hint = did_you_mean(value, known)
            raise row.error(column.column, f"found {value!r}; expected one of {expected} for the task {task}{hint}")
        return self.label_index[task][value if column.values is None else column.values[value]]

    def _check_labels(self) -> None:
        if set(self.config.labels) != set(self.card.tasks):
            text = f"found {sorted(self.config.labels)}; expected the card's tasks, {sorted(self.card.tasks)}"
            raise DataError(self.card.path, None, "mmkd.source.labels", text)
        for name, column in self.config.labels.items():
            task, place = self.card.tasks[name], f"mmkd.source.labels.{name}"
            if task.kind not in ("classify", "ordinal", "tag"):
                raise DataError(
                    self.card.path, None, place, f"jsonl reads classify, ordinal and tag; found {task.kind}"
                )
            unknown = sorted(set((column.values or {}).values()) - set(task.labels))
            if unknown:
                expected = ", ".join(task.labels)
                message = f"found the label names {', '.join(unknown)}; expected some of {expected}"
                raise DataError(self.card.path, None, f"{place}.values", message)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError(f"found a field twice among {', '.join(name for name, _ in pairs)}")
    return values
