"""A corpus: splits of one or several data sets, encoded, joined, and read batch by batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mmkd.data.encode import DataSplit
from mmkd.data.pixels import ImageReader
from mmkd.data.relabel import MISSING, LabelForm
from mmkd.data.tokens import TextReader
from mmkd.record import hash_of
from mmkd.types import Batch, Tokens


@dataclass(frozen=True)
class Readers:
    """Who reads the corpus, by name: `student`, and each teacher that runs live."""

    text: Mapping[str, TextReader]
    image: Mapping[str, ImageReader]


class Corpus(Dataset[Batch]):
    """Rows of several data splits, one after the other. A row that a data set does not label has no label.

    tasks: task -> what its labels are.
    """

    def __init__(self, splits: Sequence[DataSplit], tasks: Mapping[str, LabelForm], readers: Readers) -> None:
        """Encode what is not encoded yet, and open it. splits: those of one data set stand together."""
        self.splits, self.tasks, self.readers = tuple(splits), dict(tasks), readers
        self._rows = [split.rows() for split in splits]
        self._tokens = [{name: split.tokens(reader) for name, reader in readers.text.items()} for split in splits]
        self._pixels = [{name: split.pixels(reader) for name, reader in readers.image.items()} for split in splits]
        sizes = [len(rows["ids"]) for rows in self._rows]
        self.key = hash_of([split.fingerprint for split in splits])
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)

    def __len__(self) -> int:
        """Number of rows."""
        return int(self.starts[-1])

    def __getitem__(self, rows: np.ndarray) -> Batch:
        """The batch of these rows."""
        return self.batch(rows)

    def locate(self, row: int) -> tuple[int, int]:
        """Which split a row comes from, and its number there."""
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return part, row - int(self.starts[part])

    def words(self) -> np.ndarray:
        """Number of words of each row."""
        return np.concatenate([np.diff(rows["offsets"]) for rows in self._rows])

    def sub_tokens(self, reader: str) -> np.ndarray | None:
        """The different ids [R] that a reader's batches may hold, padding among them; None when it reads no texts."""
        if reader not in self.readers.text:
            return None
        ids = [tokens[reader]["ids"] for tokens in self._tokens]
        return np.unique(np.concatenate([[self.readers.text[reader].padding], *ids])).astype(np.int64)

    def sizes(self) -> dict[str, int]:
        """Data set -> number of its rows, in their order."""
        found: dict[str, int] = {}
        for split, rows in zip(self.splits, self._rows, strict=True):
            found[split.data] = found.get(split.data, 0) + len(rows["ids"])
        return found

    def labelled(self, task: str) -> int:
        """Number of rows that have a label for the task."""
        return sum(int(rows[f"has_label.{task}"].sum()) for rows in self._rows if f"has_label.{task}" in rows)

    def count(self, rows: np.ndarray) -> dict[str, int]:
        """Data set -> how many of these rows are its own."""
        parts = np.bincount(np.searchsorted(self.starts, rows, side="right") - 1, minlength=len(self.splits))
        found: dict[str, int] = {}
        for split, number in zip(self.splits, parts.tolist(), strict=True):
            found[split.data] = found.get(split.data, 0) + number
        return found

    def ids(self) -> list[str]:
        """Sample ids of all rows."""
        return [str(name) for rows in self._rows for name in rows["ids"]]

    def batch(self, rows: np.ndarray) -> Batch:
        """The batch of these rows, padded to its longest text."""
        places = [self.locate(int(row)) for row in rows]
        spans = [slice(*self._rows[part]["offsets"][i : i + 2]) for part, i in places]
        counts = np.array([span.stop - span.start for span in spans])
        width = max(1, int(counts.max()))
        labels, has_label = {}, {}
        for task, form in self.tasks.items():
            labels[task], has_label[task] = self._labels(task, form, places, spans, width)
        return Batch(
            ids=tuple(str(self._rows[part]["ids"][i]) for part, i in places),
            corpus=self.key,
            rows=torch.from_numpy(np.asarray(rows, np.int64)),
            word_mask=torch.from_numpy(np.arange(width) < counts[:, None]),
            tokens={name: self._read_tokens(name, reader, places) for name, reader in self.readers.text.items()},
            images={
                name: torch.from_numpy(np.stack([self._pixels[part][name][i] for part, i in places]))
                for name in self.readers.image
            },
            has_text=torch.tensor([bool(self._rows[part]["has_text"][i]) for part, i in places]),
            has_image=torch.tensor([bool(self._rows[part]["has_image"][i]) for part, i in places]),
            labels=labels,
            has_label=has_label,
        )

    def _labels(
        self, task: str, form: LabelForm, places: list[tuple[int, int]], spans: list[slice], width: int
    ) -> tuple[Tensor, Tensor]:
        values, has = _unlabelled(form, len(places), width), np.zeros(len(places), bool)
        for row, ((part, i), span) in enumerate(zip(places, spans, strict=True)):
            stored = self._rows[part]
            if f"has_label.{task}" not in stored or not stored[f"has_label.{task}"][i]:
                continue
            has[row] = True
            if form.form == "words":
                values[row, : span.stop - span.start] = stored[f"labels.{task}"][span]
            else:
                values[row] = stored[f"labels.{task}"][i]
        return torch.from_numpy(values), torch.from_numpy(has)

    def _read_tokens(self, name: str, reader: TextReader, places: list[tuple[int, int]]) -> Tokens:
        arrays = [self._tokens[part][name] for part, _ in places]
        spans = [slice(*a["offsets"][i : i + 2]) for a, (_, i) in zip(arrays, places, strict=True)]
        counts = np.array([span.stop - span.start for span in spans])
        shape = (len(places), max(1, int(counts.max())))  # a tokenizer may add nothing of its own to no words
        ids, word = np.full(shape, reader.padding, np.int64), np.full(shape, -1, np.int64)
        for row, (array, span) in enumerate(zip(arrays, spans, strict=True)):
            ids[row, : counts[row]], word[row, : counts[row]] = array["ids"][span], array["word"][span]
        mask = np.arange(shape[1]) < counts[:, None]
        return Tokens(torch.from_numpy(ids), torch.from_numpy(mask), torch.from_numpy(word))


def _unlabelled(form: LabelForm, rows: int, width: int) -> np.ndarray:
    """Labels of rows that have none, in the shape and type of a batch."""
    if form.form == "set":
        return np.zeros((rows, form.size), np.float32)
    if form.form == "value":
        return np.zeros(rows, np.float32)
    return np.full((rows, width) if form.form == "words" else (rows,), MISSING, np.int64)
