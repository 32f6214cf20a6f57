"""Encodes the splits of a data set once: rows and labels, sub-tokens for each tokenizer, pixels for each size.

Each is a folder of memory-mapped arrays, keyed by the data's fingerprint and by who reads. A view of a split is
encoded in the same way, beside the split itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from mmkd.arrays import ArrayWriter, code_hash, stored
from mmkd.config.augment import Augment
from mmkd.data.augment_text import Lexicon
from mmkd.data.base import Example
from mmkd.data.pixels import ImageReader
from mmkd.data.relabel import LabelUse
from mmkd.data.tokens import TextReader
from mmkd.data.views import view_identity, view_of

HERE = Path(__file__).parent
CODE = code_hash(*(HERE / f"{name}.py" for name in ("_decode", "base", "encode", "pixels", "relabel", "tokens")))


class Rows(Protocol):
    """What is encoded: the rows of a data set's splits."""

    def read(self, split: str) -> Iterator[Example]:
        """The rows of a split, in a fixed order."""
        ...

    def fingerprint(self, split: str) -> str:
        """A sha256 that changes with anything that changes the rows."""
        ...


@dataclass(frozen=True)
class Views:
    """How rows are augmented. tags: label names of the card's tasks over words; lexicon: of the synonyms."""

    augment: Augment
    tags: Mapping[str, Sequence[str]]
    lexicon: Lexicon


@dataclass
class DataSplit:
    """One split of one data set, read at most once, and only when something has to be encoded.

    labels: experiment task -> how the data set labels it. limit: use only the first rows. views, view: which view of
    the rows this is; None: the rows themselves.
    """

    data: str
    split: str
    source: Rows
    folder: Path
    labels: Mapping[str, LabelUse]
    limit: int | None = None
    views: Views | None = None
    view: int | None = None
    _examples: list[Example] = field(default_factory=list, repr=False)

    def at_view(self, views: Views, view: int, folder: Path | None = None) -> DataSplit:
        """A view of these rows. folder: where it is encoded, in place of the split's own."""
        return replace(self, views=views, view=view, folder=folder or self.folder)

    def examples(self) -> list[Example]:
        """The rows, up to the limit; all views of a split share what was read."""
        if not self._examples:
            for example in self.source.read(self.split):
                self._examples.append(example)
                if len(self._examples) == self.limit:
                    break
        views = self.views
        if views is None:
            return self._examples
        return [view_of(each, views.augment, self.view, views.tags, views.lexicon) for each in self._examples]

    @property
    def fingerprint(self) -> str:
        """sha256 that changes with anything that changes the rows, plus the limit and the view."""
        return ":".join([self._rows_key, *filter(None, [self._view_key("text"), self._view_key("image")])])

    @property
    def _rows_key(self) -> str:
        return f"{self.source.fingerprint(self.split)}:{self.limit or 'all'}"

    def _view_key(self, modality: str) -> str | None:
        views = self.views
        if views is None:
            return None
        return view_identity(views.augment, self.view, "text" if modality == "text" else "image", views.lexicon)

    def _parts(self, modality: str, **others: str) -> dict[str, str]:
        """What the encoding of one modality depends on."""
        key = self._view_key(modality)
        return {"rows": self._rows_key, **({} if key is None else {"view": key}), **others, "code": CODE}

    def rows(self) -> dict[str, np.ndarray]:
        """ids [n]; offsets [n + 1] of each row's words; has_text, has_image [n]; labels.<task> as `LabelUse` stores."""
        plain = {task: [use.theirs, use.form.form, use.form.size, use.to] for task, use in self.labels.items()}
        parts = self._parts("text", labels=json.dumps(plain, sort_keys=True))
        return stored(self.folder / "rows", parts, self._write_rows)

    def tokens(self, reader: TextReader) -> dict[str, np.ndarray]:
        """offsets [n + 1] of each row's sub-tokens; ids and word index of each sub-token."""

        def write(writer: ArrayWriter) -> None:
            encoded = [reader.read(example.words) for example in self.examples()]
            writer.put("offsets", _offsets([len(ids) for ids, _ in encoded]))
            writer.put("ids", np.array([i for ids, _ in encoded for i in ids], np.int32))
            writer.put("word", np.array([w for _, words in encoded for w in words], np.int32))

        return stored(self.folder / "tokens", self._parts("text", tokenizer=reader.identity), write)

    def pixels(self, reader: ImageReader) -> np.ndarray:
        """uint8 [n, 3, size, size]; zeros where the row has no image."""

        def write(writer: ArrayWriter) -> None:
            examples = self.examples()
            pixels = writer.allocate("pixels", (len(examples), 3, reader.size, reader.size), np.uint8)
            for row, example in enumerate(examples):
                if example.image is not None:
                    pixels[row] = self._pixels_of(example, reader)

        return stored(self.folder / "pixels", self._parts("image", image=reader.identity), write)["pixels"]

    def _pixels_of(self, example: Example, reader: ImageReader) -> np.ndarray:
        assert example.image is not None
        try:
            return reader.read(example.image())
        except OSError as error:
            raise OSError(f"{self.data}/{self.split}, row {example.id}: the image cannot be read: {error}") from error

    def _write_rows(self, writer: ArrayWriter) -> None:
        examples = self.examples()
        words = [len(example.words) for example in examples]
        writer.put("ids", np.array([example.id for example in examples], dtype=np.str_))
        writer.put("offsets", _offsets(words))
        writer.put("has_text", np.array([n > 0 for n in words]))
        writer.put("has_image", np.array([example.image is not None for example in examples]))
        for task, use in self.labels.items():
            labels = [use.label(example.labels.get(use.theirs)) for example in examples]
            writer.put(f"has_label.{task}", np.array([label is not None for label in labels]))
            writer.put(f"labels.{task}", use.stored(labels, words))


def _offsets(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
