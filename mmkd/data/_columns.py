"""What sources of rows with named columns share: a card maps columns to ids, words, images, labels and groups.

Every value is text, a truth value, a list, null or a reader of an image's bytes: ids and labels keep the characters
that the file has (`007`, `NA`, `1e5`). No torch here.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, Strict, model_validator

from mmkd.config.problems import did_you_mean
from mmkd.config.section import Names, Section
from mmkd.data._files import FileConfig, FileSource, RowProblem, finding, shortened, shown
from mmkd.data._images import FolderImages, Images, ZipImages
from mmkd.data._labels import LabelColumn, label_readers
from mmkd.data.base import DataError, Example, Label
from mmkd.data.findings import Finding

if TYPE_CHECKING:
    from mmkd.data.card import Card


class ImageColumn(Section):
    """Where images are. column: holds the image's name, or the image itself; null in a row without an image.

    archive, folder: a zip file or a folder below the data root. Neither: the column holds the bytes of the image file.
    suffix: replaces the name's own ending, for images that were encoded anew (`.webp`).
    missing: texts that stand for no image, as null does; in a CSV file often the empty text.
    """

    column: str
    archive: str | None = None
    folder: str | None = None
    suffix: Annotated[str, Field(pattern=r"^\.[A-Za-z0-9]+$")] | None = None
    missing: Names = ()

    @property
    def embedded(self) -> bool:
        """Whether the column holds the images themselves."""
        return self.archive is None and self.folder is None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.archive is not None and self.folder is not None:
            raise ValueError("found both; expected one of `archive` and `folder`")
        if self.suffix is not None and self.embedded:
            raise ValueError("found `suffix` without `archive` or `folder`, where the named images would be")
        return self


class ColumnsConfig(FileConfig):
    """Columns by name.

    id: null numbers the rows, `<split>-<n>` from 0. text: split into words at white space; several columns are joined.
    words: holds a list of words instead. group: rows with the same value belong together; null and the empty text
    are no group.
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
    """A row of a file, with its place. values: column -> text, truth value, list, null, or reader of an image."""

    file: str
    number: int
    values: Mapping[str, Any]

    def value(self, column: str) -> Any:
        """The value of a column. Raises RowProblem when the row lacks the column."""
        if column not in self.values:
            known = shortened(", ".join(self.values))
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
        seen: dict[str, tuple[str, int]] = {}
        for number, row in enumerate(self.rows(split)):
            if isinstance(row, Finding):
                yield row
                continue
            name = None
            try:
                name = self._id(row, split, number)
                self._refuse_repeated(name, row, seen)
                found: Example | Finding = self._example(name, row, split)
            except RowProblem as problem:
                found = finding(problem, split, row.file, row.number, name)
            yield found

    def needed(self, split: str) -> tuple[str, ...]:
        """The columns that the rows of a split are made of, each once."""
        config = self.config
        texts = (config.text,) if isinstance(config.text, str) else config.text or ()
        labels = [] if split == "transfer" else [column.column for column in config.labels.values()]
        image = None if config.image is None else config.image.column
        named = [config.id, *texts, config.words, image, config.group, *labels]
        return tuple(dict.fromkeys(column for column in named if column is not None))

    def require(self, file: Path, found: Iterable[str], split: str) -> None:
        """Raises DataError when a table, whose rows all have the same columns, lacks one that the card names."""
        known = list(found)
        lacking = [column for column in self.needed(split) if column not in known]
        if lacking:
            message = f"found no column {lacking[0]!r}; expected one of {', '.join(known)}"
            raise DataError(file, None, lacking[0], f"{message}{did_you_mean(lacking[0], known)}")

    def _id(self, row: Row, split: str, number: int) -> str:
        if self.config.id is None:
            return f"{split}-{number}"
        name = row.text(self.config.id)
        if name is None or not name.strip():
            raise RowProblem("id_missing", self.config.id, f"found {shortened(repr(name))}; expected an id")
        _refuse_surrogates(name, self.config.id)
        return name

    def _refuse_repeated(self, name: str, row: Row, seen: dict[str, tuple[str, int]]) -> None:
        if name in seen:
            file, number = seen[name]
            place = f"line {number}" if file == row.file else f"{file}:{number}"
            message = f"found {shortened(repr(name))}, which {place} has too; expected an id that no other row has"
            raise RowProblem("id_repeated", self.config.id, message)
        if self.config.id is not None:
            seen[name] = row.file, row.number

    def _example(self, name: str, row: Row, split: str) -> Example:
        words, (image_name, image) = self._words(row), self._image(row)
        if not words and image is None:
            message = f"row {shortened(repr(name))} has neither words nor an image; expected one of them"
            raise RowProblem("row_empty", self.config.id, message)
        labels: dict[str, Label] = {}
        for task, reader in self._labels_of.items():
            label = None if split == "transfer" else reader.read(row.value(reader.column.column), words)
            if label is not None:
                labels[task] = label
        group = None if self.config.group is None else row.text(self.config.group) or None
        if group is not None:
            _refuse_surrogates(group, self.config.group)
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
            return ZipImages(self.path(column.archive))
        return None if column.folder is None else FolderImages(self.path(column.folder))

    def _image(self, row: Row) -> tuple[str | None, Callable[[], bytes] | None]:
        """The name and the reader of the row's image."""
        column = self.config.image
        if column is None or row.value(column.column) in (None, *column.missing):
            return None, None
        if column.embedded:
            return self.embedded_image(row, column.column)
        name = row.text(column.column) or ""
        if not PurePosixPath(name).name:
            raise RowProblem("column_type", column.column, f"found {name!r}; expected the name of an image, or null")
        name = str(PurePosixPath(name).with_suffix(column.suffix)) if column.suffix else name
        if self._images is not None and not self._images.has(name):
            message = f"found no image {shortened(repr(name))} in {self._images.where}; get the images again"
            raise RowProblem("image_missing", column.column, message)
        return name, None if self._images is None else partial(self._images.read, name)

    def embedded_image(self, row: Row, column: str) -> tuple[str | None, Callable[[], bytes]]:
        """The name and the reader of an image whose bytes stand in the column."""
        value = row.value(column)
        if not callable(value):
            found = f"found {shown(value)}; expected the bytes of an image"
            raise RowProblem("column_type", column, f"{found}; or name the `archive` or `folder` of the images")
        return None, value


def as_text(value: Any) -> Any:
    """A typed value as rows hold it: numbers and dates as text, lists of them likewise, all else as it is."""
    if isinstance(value, list):
        return [as_text(each) for each in value]
    if isinstance(value, int | float | Decimal | date | time) and not isinstance(value, bool):
        return str(value)
    return value


def _refuse_surrogates(text: str, column: str | None) -> None:
    """Ids and groups are written to files, which half of a UTF-16 pair cannot be."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"found {shortened(ascii(text))}; expected whole characters"
        raise RowProblem("text_surrogate", column, message) from error
