"""Encodes the splits of a data set once: rows and labels, sub-tokens for each tokenizer, pixels for each size.

Each is a folder of memory-mapped arrays, keyed by the data's fingerprint and by who reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mmkd.arrays import ArrayWriter, code_hash, stored
from mmkd.data.base import Example, Label, Source
from mmkd.data.pixels import ImageReader
from mmkd.data.tokens import TextReader

MISSING = -1
"""Label of a row, or of a word, that has none."""

CODE = code_hash(Path(__file__), *(Path(__file__).parent / f"{name}.py" for name in ("base", "pixels", "tokens")))


@dataclass
class DataSplit:
    """One split of one data set, read at most once, and only when something has to be encoded."""

    data: str
    split: str
    source: Source
    folder: Path
    label_levels: Mapping[str, str]
    limit: int | None = None
    _examples: list[Example] = field(default_factory=list, repr=False)

    def examples(self) -> list[Example]:
        """The rows, up to the limit."""
        if not self._examples:
            for example in self.source.read(self.split):
                self._examples.append(example)
                if len(self._examples) == self.limit:
                    break
        return self._examples

    @property
    def fingerprint(self) -> str:
        """sha256 that changes with anything that changes the rows, plus the limit."""
        return f"{self.source.fingerprint(self.split)}:{self.limit or 'all'}"

    def rows(self) -> dict[str, np.ndarray]:
        """ids [n]; offsets [n + 1] of each row's words; has_text, has_image [n]; labels.<task>, [n] or [words]."""
        parts = {"rows": self.fingerprint, "levels": json.dumps(dict(self.label_levels), sort_keys=True), "code": CODE}
        return stored(self.folder / "rows", parts, self._write_rows)

    def tokens(self, reader: TextReader) -> dict[str, np.ndarray]:
        """offsets [n + 1] of each row's sub-tokens; ids and word index of each sub-token."""
        parts = {"rows": self.fingerprint, "tokenizer": reader.identity, "code": CODE}

        def write(writer: ArrayWriter) -> None:
            encoded = [reader.read(example.words) for example in self.examples()]
            writer.put("offsets", _offsets([len(ids) for ids, _ in encoded]))
            writer.put("ids", np.array([i for ids, _ in encoded for i in ids], np.int32))
            writer.put("word", np.array([w for _, words in encoded for w in words], np.int32))

        return stored(self.folder / "tokens", parts, write)

    def pixels(self, reader: ImageReader) -> np.ndarray:
        """uint8 [n, 3, size, size]; zeros where the row has no image."""
        parts = {"rows": self.fingerprint, "image": reader.identity, "code": CODE}

        def write(writer: ArrayWriter) -> None:
            examples = self.examples()
            pixels = writer.allocate("pixels", (len(examples), 3, reader.size, reader.size), np.uint8)
            for row, example in enumerate(examples):
                if example.image is not None:
                    pixels[row] = self._pixels_of(example, reader)

        return stored(self.folder / "pixels", parts, write)["pixels"]

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
        for task, level in self.label_levels.items():
            labels = [example.labels.get(task) for example in examples]
            writer.put(f"has_label.{task}", np.array([label is not None for label in labels]))
            counts = words if level == "word" else [1] * len(examples)
            values = [value for label, n in zip(labels, counts, strict=True) for value in _values(label, n)]
            writer.put(f"labels.{task}", np.array(values, np.int32))


def _values(label: Label | None, count: int) -> tuple[int, ...]:
    """A label as one value per word, or as one in all; `count` times MISSING where there is none."""
    if label is None:
        return (MISSING,) * count
    return label if isinstance(label, tuple) else (label,)


def _offsets(lengths: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64)
