"""What a teacher said about a data split, stored once and shared by every seed, trial and experiment.

Content-addressed: the folder's name is the hash of the teacher's weights, its code, what it reads, the rows, the
layers, the tasks and the dtype. Word-level outputs are ragged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mmkd.arrays import ArrayWriter, stored
from mmkd.data.batches import load, reading_rows, to_device
from mmkd.data.corpus import Corpus
from mmkd.errors import MmkdError
from mmkd.teachers.base import Speaker, Teacher
from mmkd.types import Batch, Hidden, Outputs

if TYPE_CHECKING:
    from mmkd.data.encode import DataSplit

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
BATCH = 64
CHECKED_ROWS = 8
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-3, "bf16": 2e-2}
"""Largest difference to the live teacher, relative to the largest value: rounding of the dtype and of batching."""


class CacheError(MmkdError):
    """A cache cannot hold, or does not hold, what the teacher says; the message says what and where."""


class CachedTeacher(Speaker):
    """Speaks from the cache exactly as the live teacher would, for the rows of one corpus."""

    def __init__(
        self, teacher: Teacher, corpus: Corpus, arrays: Sequence[Mapping[str, np.ndarray]], dtype: str
    ) -> None:
        """corpus: the one that the cache was made for. arrays: for each of its splits, what is stored."""
        super().__init__()
        self.name, self.shape = teacher.name, teacher.shape
        self._levels = {name: task.level for name, task in teacher.tasks.items()}
        self._layers = {modality: tuple(layers) for modality, layers in teacher.shape.hidden.items()}
        self._corpus, self._arrays, self._dtype = corpus, arrays, dtype

    @property
    def corpus(self) -> str:
        """Key of the corpus whose rows it speaks about."""
        return self._corpus.key

    def forward(self, batch: Batch) -> Outputs:
        """What the teacher said about these rows, as float32.

        Raises CacheError for a batch of another corpus.
        """
        if batch.corpus != self._corpus.key:
            raise CacheError(
                f"teacher {self.name}: the batch comes from another corpus ({batch.corpus[:12]}) than the cache "
                f"({self._corpus.key[:12]}); run this teacher live there"
            )
        places = [self._corpus.locate(int(row)) for row in batch.rows]
        width, device = batch.word_mask.shape[1], batch.word_mask.device

        def rows(name: str) -> Tensor:
            values = np.stack([self._arrays[part][name][i] for part, i in places])
            return self._float(values).to(device)

        def words(name: str) -> Tensor:
            spans = [self._arrays[part][name][slice(*self._arrays[part]["offsets"][i : i + 2])] for part, i in places]
            values = np.zeros((len(spans), width, *spans[0].shape[1:]), spans[0].dtype)
            for row, span in enumerate(spans):
                values[row, : len(span)] = span
            return self._float(values).to(device)

        read = {"example": rows, "word": words}
        kept = words("words") > 0
        has = {"text": batch.has_text, "image": batch.has_image}
        hidden: dict[str, dict[int, Hidden]] = {modality: {} for modality in self._layers}
        for modality, layers in self._layers.items():
            for layer in layers:
                name = f"{modality}.{layer}"
                if modality == "text":
                    hidden[modality][layer] = Hidden(words(f"hidden.{name}"), kept)
                else:
                    grid = tuple(int(n) for n in self._arrays[0][f"grid.{name}"])
                    values = rows(f"hidden.{name}")
                    mask = batch.has_image[:, None].expand(values.shape[:2])
                    hidden[modality][layer] = Hidden(values, mask, (grid[0], grid[1]))
        return Outputs(
            logits={task: read[level](f"logits.{task}") for task, level in self._levels.items()},
            speaks=rows("speaks") > 0,
            words=kept,
            pooled={modality: rows(f"pooled.{modality}") for modality in self.shape.pooled},
            has={modality: has[modality] for modality in self.shape.pooled},
            hidden=hidden,
        )

    def _float(self, values: np.ndarray) -> Tensor:
        # numpy knows no bfloat16: its bits are stored as uint16
        tensor = torch.from_numpy(values)
        return (tensor.view(torch.bfloat16) if values.dtype == np.uint16 else tensor).float()


class CachedViews(Speaker):
    """Speaks from the cache about several views of the same rows; a view is a corpus of its own."""

    def __init__(self, views: Sequence[CachedTeacher]) -> None:
        """views: one or more, of one teacher."""
        super().__init__()
        self.name, self.shape = views[0].name, views[0].shape
        self._views = {view.corpus: view for view in views}

    def forward(self, batch: Batch) -> Outputs:
        """What the teacher said about these rows in the view that the batch shows.

        Raises CacheError for a batch of another corpus.
        """
        return self._views.get(batch.corpus, next(iter(self._views.values())))(batch)


def cached(
    teacher: Teacher,
    identity: Mapping[str, str],
    corpus: Corpus,
    folder: Path,
    dtype: str,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> CachedTeacher:
    """The teacher, speaking from the cache; what is not stored yet is computed first.

    identity: what determines the teacher's outputs, by name (weights, code, what it reads).
    corpus: read by the teacher itself, so that it can also be asked live. progress: called with rows done and in all.
    Raises CacheError when a value does not fit the dtype or a stored row differs from the live teacher;
    StoreError when a store does not match its own manifest.
    """
    arrays = []
    for number, split in enumerate(corpus.splits):
        parts = {**identity, "rows": split.fingerprint, "dtype": dtype}
        start, end = int(corpus.starts[number]), int(corpus.starts[number + 1])

        def fill(writer: ArrayWriter, split: DataSplit = split, start: int = start, end: int = end) -> None:
            _fill(writer, teacher, corpus, split, np.arange(start, end), dtype, device, progress)

        arrays.append(stored(folder / teacher.name, parts, fill))
    reader = CachedTeacher(teacher, corpus, arrays, dtype)
    _compare(reader, teacher, corpus, dtype, device)
    return reader


def _fill(
    writer: ArrayWriter,
    teacher: Teacher,
    corpus: Corpus,
    split: DataSplit,
    rows: np.ndarray,
    dtype: str,
    device: torch.device,
    progress: Callable[[int, int], None],
) -> None:
    counts = corpus.words()[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    writer.put("offsets", offsets)
    done = 0
    for batch_rows in load(corpus, [rows[chosen] for chosen in reading_rows(counts, BATCH)]):
        with torch.no_grad():
            outputs = teacher(to_device(batch_rows, device))
        local = batch_rows.rows.numpy() - rows[0]
        for name, (values, ragged) in _named(outputs).items():
            flat = _to_numpy(values, name, dtype, f"teacher {teacher.name}, {split.data}/{split.split}", batch_rows.ids)
            length = int(offsets[-1]) if ragged else len(rows)
            if name not in writer.arrays:
                writer.allocate(name, (length, *flat.shape[2 if ragged else 1 :]), flat.dtype)
            for i, row in enumerate(local):
                if ragged:
                    writer.arrays[name][offsets[row] : offsets[row + 1]] = flat[i, : counts[row]]
                else:
                    writer.arrays[name][row] = flat[i]
        for modality, layers in outputs.hidden.items():
            for layer, hidden in layers.items():
                if hidden.grid is not None and f"grid.{modality}.{layer}" not in writer.arrays:
                    writer.put(f"grid.{modality}.{layer}", np.array(hidden.grid))
        done += len(local)
        progress(done, len(rows))


def _named(outputs: Outputs) -> dict[str, tuple[Tensor, bool]]:
    """Each output by its stored name, and whether it is ragged over words."""
    named = {"speaks": (outputs.speaks, False), "words": (outputs.words, True)}
    named |= {f"pooled.{modality}": (values, False) for modality, values in outputs.pooled.items()}
    named |= {f"logits.{task}": (values, values.ndim == 3) for task, values in outputs.logits.items()}
    for modality, layers in outputs.hidden.items():
        for layer, hidden in layers.items():
            named[f"hidden.{modality}.{layer}"] = (hidden.values, modality == "text")
    return named


def _to_numpy(values: Tensor, name: str, dtype: str, where: str, ids: tuple[str, ...]) -> np.ndarray:
    if values.dtype == torch.bool:
        return values.to(torch.uint8).cpu().numpy()
    narrow = values.to(DTYPES[dtype])
    bad = ~torch.isfinite(narrow).flatten(1).all(1)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise CacheError(
            f"{where}: {name} of {ids[row]} is not finite as {dtype} (largest value {values[row].abs().max():.3g}); "
            "choose train.cache_dtype: fp32, or look for the overflow in the teacher"
        )
    narrow = narrow.cpu()
    return narrow.view(torch.uint16).numpy() if dtype == "bf16" else narrow.numpy()


def _compare(reader: CachedTeacher, teacher: Teacher, corpus: Corpus, dtype: str, device: torch.device) -> None:
    """Ask the live teacher again about a few rows, spread over the corpus, on every use."""
    rows = np.unique(np.linspace(0, len(corpus) - 1, CHECKED_ROWS).astype(int))
    batch = to_device(corpus.batch(rows), device)
    with torch.no_grad():
        live, told = (_named(who(batch)) for who in (teacher, reader))
    for name, (expected, ragged) in live.items():
        mask = (batch.word_mask if ragged else torch.ones_like(batch.has_text)).to(expected.device)
        found, expected = told[name][0].float()[mask], expected.float()[mask]
        scale = expected.abs().max().clamp(min=1.0) if expected.numel() else 1.0
        if not torch.allclose(found, expected, rtol=0.0, atol=float(TOLERANCE[dtype] * scale)):
            raise CacheError(
                f"teacher {teacher.name}: the cached {name} differs from the live teacher by "
                f"{(found - expected).abs().max():.3g}; the cache was made by other code, or on another device: "
                "delete it and run again"
            )
