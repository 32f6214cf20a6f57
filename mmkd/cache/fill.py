"""Fills one shard: asks the teacher about its rows, in batches of equal length, and measures what storing loses."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from mmkd.arrays import ArrayWriter
from mmkd.cache.build import Filled
from mmkd.cache.entry import About, Array, Kind
from mmkd.cache.losing import Losing
from mmkd.cache.packing import Flat, Packing, flatten, grids_of
from mmkd.cache.speak import CacheError
from mmkd.data.batches import load, reading_rows, to_device
from mmkd.data.corpus import Corpus
from mmkd.teachers.base import Teacher
from mmkd.types import Batch, Outputs

BATCH = 64
KINDS: dict[torch.dtype, Kind] = {
    torch.bool: "bool",
    torch.int32: "index",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
}


def asked(teacher: Teacher, corpus: Corpus, rows: np.ndarray, device: torch.device) -> Iterator[tuple[Batch, Outputs]]:
    """The teacher's outputs about these rows, in batches that follow from the rows alone."""
    counts = corpus.words()[rows]
    for batch in load(corpus, [rows[chosen] for chosen in reading_rows(counts, BATCH)]):
        batch = to_device(batch, device)
        with torch.no_grad():
            yield batch, teacher(batch)


def fill_shard(
    writer: ArrayWriter,
    teacher: Teacher,
    corpus: Corpus,
    rows: np.ndarray,
    packing: Packing,
    device: torch.device,
    about: About,
    progress: Callable[[int], None],
) -> Filled:
    """Write what the teacher says of these rows, which follow one another. progress: called with rows done.

    Raises CacheError when a number is not finite in the type that is stored.
    """
    counts = corpus.words()[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    writer.put("offsets", offsets)
    facts: dict[str, Array] = {}
    grids: dict[str, tuple[int, int]] = {}
    classes: dict[str, int] = {}
    losing, done = Losing(packing), 0
    for batch, outputs in asked(teacher, corpus, rows, device):
        local = batch.rows.numpy(force=True) - rows[0]
        words = np.concatenate([np.arange(offsets[row], offsets[row + 1]) for row in local])
        flat = flatten(outputs, batch.word_mask)
        packed = packing.pack(flat)
        narrow = {name: packing.narrow(each.values) for name, each in packed.items()}
        for name, each in packed.items():
            _require_finite(narrow[name], each, name, packing.dtype, about, batch)
            if name not in facts:
                length = int(offsets[-1]) if each.ragged else len(rows)
                kind, shape = KINDS[narrow[name].dtype], tuple(narrow[name].shape[1:])
                facts[name] = Array(ragged=each.ragged, kind=kind, shape=shape)
                writer.allocate(name, (length, *shape), _to_numpy(narrow[name][:0]).dtype)
            writer.arrays[name][words if each.ragged else local] = _to_numpy(narrow[name])
        grids |= grids_of(outputs)
        classes |= {task: flat[f"logits.{task}"].values.shape[-1] for task in packing.top}
        losing.add(flat, narrow)
        done += len(local)
        progress(done)
    return Filled(int(offsets[-1]), facts, grids, classes, losing.lost())


def _to_numpy(values: Tensor) -> np.ndarray:
    # numpy knows no bfloat16: its bits are stored as uint16
    values = values.cpu()
    return (values.view(torch.uint16) if values.dtype == torch.bfloat16 else values).numpy()


def _require_finite(narrow: Tensor, flat: Flat, name: str, dtype: str, about: About, batch: Batch) -> None:
    if not narrow.is_floating_point() or bool(torch.isfinite(narrow).all()):
        return
    worst = int((~torch.isfinite(narrow)).reshape(len(narrow), -1).any(1).nonzero()[0])
    row = int(batch.word_mask.nonzero()[worst, 0]) if flat.ragged else worst
    advice = "look for the overflow in the teacher" if dtype == "fp32" else "choose train.cache_dtype: bf16 or fp32"
    raise CacheError(
        f"teacher {about}: {name} of {batch.ids[row]} is not finite as {dtype} (largest value "
        f"{flat.values[worst].float().abs().max():.3g}); {advice}"
    )
