"""What sources of rows with named columns share: a card maps columns to ids, words, images, labels and groups.

Every value is text, a list, null or an image's bytes: ids and labels keep the characters that the file has (`007`,
`NA`, `1e5`). No torch here.
"""

from __future__ import annotations

import abc
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, Strict, model_validator

from mmkd.config.problems import did_you_mean
from mmkd.config.section import Section
from mmkd.data._files import FileConfig, FileSource, RowProblem, finding
from mmkd.data._images import FolderImages, Images, ZipImages
from mmkd.data._labels import LabelColumn, label_readers
from mmkd.data.base import Example, Label
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card


class ImageColumn(Section):
    """Where images are. column: holds the image's name, or the image itself; null in a row without an image.

    archive, folder: a zip file or a folder below the data root. Neither: the column holds the bytes of the image file.
    suffix: replaces the name's own ending, for images that were encoded anew (`.webp`).
    """

    column: str
    archive: str | None = None
    folder: str | None = None
    suffix: Annotated[str, Field(pattern=r"^\.[A-Za-z0-9]+$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.archive is not None and self.folder is not None:
            raise ValueError("found both `archive` and `folder`; expected one of them")
        if self.suffix is not None and self.archive is None and self.folder is None:
            raise ValueError("found `suffix` without `archive` or `folder`, where the named images would be")
        return self


class ColumnsConfig(FileConfig):
    """Columns by name.

    id: null numbers the rows, `<split>-<n>` from 0. text: split into words at white space; several columns are joined.
    words: holds a list of words instead. group: rows with the same value belong together.
    """

    id: str | None
    text: str | Annotated[tuple[str, ...], Strict(False), Field(min_length=1)] | None = None
    words: str | None = None
    image: ImageColumn | None = None
    group: str | None = None
    labels: dict[str, LabelColumn]

    @model_validator(mode="after")
    def _something_to_read(self) -> Self:
        if self.text is not None and self.words is not None:
            raise ValueError("found both `text` and `words`; expected one of them")
        if self.text is None and self.words is None and self.image is None:
            raise ValueError("expected at least one of `text`, `words` and `image`")
        return self


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file, with its place. values: column -> text, list, null, or the bytes of an image."""

    file: str
    number: int
    values: Mapping[str, Any]

    def value(self, column: str) -> Any:
        """The value of a column. Raises RowProblem when the row lacks the column."""
        if column not in self.values:
            known = ", ".join(self.values)
            message = f"found no such field; expected one of {known}{did_you_mean(column, self.values)}"
            raise RowProblem("column_missing", column, message)
        return self.values[column]

    def text(self, column: str) -> str | None:
        """The value of a column that must be text, or null. Raises RowProblem when it is neither."""
        value = self.value(column)
        if value is not None and not isinstance(value, str):
            raise RowProblem("column_type", column, f"found {shown(value)}; expected text")
        return value

    def texts(self, column: str) -> list[str]:
        """The value of a column that must be a list of texts. Raises RowProblem when it is none."""
        value = self.value(column)
        if not isinstance(value, list):
            raise RowProblem("column_type", column, f"found {shown(value)}; expected a list")
        wrong = [each for each in value if not isinstance(each, str)]
        if wrong:
            raise RowProblem("column_type", column, f"found {shown(wrong[0])}; expected text")
        return value


class ColumnsSource(FileSource):
    """Reads rows in the order of the files. Rows of `transfer` get no labels, whatever the file has."""

    config: ColumnsConfig

    def __init__(self, config: ColumnsConfig, card: Card, root: Path | None) -> None:
        """Raises DataError when the card's tasks and the columns of `labels` do not fit together."""
        super().__init__(config, card, root)
        self._labels_of = label_readers(card, config.labels)
        self._images = self._open_images()

    @abc.abstractmethod
    def rows(self, split: str) -> Iterator[Row | Finding]:
        """The rows of a split, or what makes one unreadable.

        Raises DataError for a file that cannot be read at all.
        """

    def files(self, split: str) -> tuple[str, ...]:
        """The split's own files and its images: the archive, or the folder, whose name ends with a slash."""
        own, image = super().files(split), self.config.image
        if not own or image is None:
            return own
        return (*own, *filter(None, [image.archive, image.folder and f"{image.folder.rstrip('/')}/"]))

    def read(self, split: str) -> Iterator[Example | Finding]:
        """Yield the rows of a split."""
        seen: dict[str, str] = {}
        for number, row in enumerate(self.rows(split)):
            if isinstance(row, Finding):
                yield row
                continue
            name = None
            try:
                name = self._id(row, split, number, seen)
                yield self._example(name, row, split)
            except RowProblem as problem:
                yield finding(problem, split, row.file, row.number, name)

    def _id(self, row: Row, split: str, number: int, seen: dict[str, str]) -> str:
        if self.config.id is None:
            return f"{split}-{number}"
        name = row.text(self.config.id)
        if name is None or not name.strip():
            raise RowProblem("id_missing", self.config.id, f"found {name!r}; expected an id")
        if name in seen:
            message = f"found {name!r}, which {seen[name]} has too; expected an id that no other row has"
            raise RowProblem("id_repeated", self.config.id, message)
        seen[name] = f"line {row.number}" if len(self.own_files(split)) == 1 else f"{row.file}:{row.number}"
        return name

    def _example(self, name: str, row: Row, split: str) -> Example:
        words, (image_name, image) = self._words(row), self._image(row)
        if not words and image is None:
            message = f"row {name!r} has neither words nor an image; expected one of them"
            raise RowProblem("row_empty", self.config.id, message)
        labels: dict[str, Label] = {}
        for task, reader in self._labels_of.items():
            label = None if split == "transfer" else reader.read(row.value(reader.column.column), words)
            if label is not None:
                labels[task] = label
        group = None if self.config.group is None else row.text(self.config.group)
        return Example(name, words, image, labels, group, row.file, row.number, image_name)

    def _words(self, row: Row) -> tuple[str, ...]:
        if self.config.words is not None:
            words = row.texts(self.config.words)
            if not all(word.strip() for word in words):
                number = next(place for place, word in enumerate(words) if not word.strip())
                raise RowProblem("word_empty", self.config.words, f"word {number} is empty; expected words")
            return tuple(words)
        columns = (self.config.text,) if isinstance(self.config.text, str) else self.config.text or ()
        return tuple(word for column in columns for word in (row.text(column) or "").split())

    def _open_images(self) -> Images | None:
        column = self.config.image
        if column is None or self.root is None:
            return None
        if column.archive is not None:
            return ZipImages(self.root / column.archive)
        return None if column.folder is None else FolderImages(self.root / column.folder)

    def _image(self, row: Row) -> tuple[str | None, Callable[[], bytes] | None]:
        """The name and the reader of the row's image."""
        column = self.config.image
        if column is None or row.value(column.column) is None:
            return None, None
        if column.archive is None and column.folder is None:
            return self.embedded_image(row, column.column)
        name = row.text(column.column) or ""
        if not PurePosixPath(name).name:
            raise RowProblem("column_type", column.column, f"found {name!r}; expected the name of an image, or null")
        name = str(PurePosixPath(name).with_suffix(column.suffix)) if column.suffix else name
        if self._images is not None and not self._images.has(name):
            message = f"found no image {name!r} in {self._images.where}; get the images again"
            raise RowProblem("image_missing", column.column, message)
        return name, None if self._images is None else partial(self._images.read, name)

    def embedded_image(self, row: Row, column: str) -> tuple[str | None, Callable[[], bytes]]:
        """The name and the reader of an image whose bytes stand in the column."""
        value = row.value(column)
        if not callable(value):
            found = f"found {shown(value)}; expected the bytes of an image"
            raise RowProblem("column_type", column, f"{found}; or name the `archive` or `folder` of the images")
        return None, value


def shown(value: Any) -> str:
    """A value for a message."""
    return json.dumps(value, default=lambda other: f"<{type(other).__name__}>", ensure_ascii=False)[:80]


def as_text(value: Any) -> Any:
    """A typed value as rows hold it: numbers and truth values as text, lists of them likewise, null as null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return [as_text(each) for each in value]
    return value if value is None or isinstance(value, str) or callable(value) else str(value)
