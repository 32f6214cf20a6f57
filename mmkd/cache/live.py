"""Asks the live teacher again about some rows, and compares: what no hash can show, such as other code or devices."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mmkd.cache.packing import Packing, flatten
from mmkd.cache.speak import CachedTeacher, CacheError
from mmkd.data.batches import to_device
from mmkd.data.corpus import Corpus
from mmkd.teachers.base import Teacher
from mmkd.types import Batch

SHARE, FEWEST, MOST = 0.001, 8, 64
"""Rows that are asked for on each use: a share of all, not fewer and not more than these."""
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-3, "bf16": 2e-2}
"""Largest difference to the live teacher, relative to the largest value: rounding of the dtype and of batching."""


def drawn_rows(rows: int, generator: np.random.Generator, share: float | None = None) -> np.ndarray:
    """Numbers of some of the rows, in order, drawn without repetition: a share of all, None for what each use asks."""
    wanted = min(MOST, round(rows * SHARE)) if share is None else round(rows * share)
    return np.sort(generator.choice(rows, min(rows, max(FEWEST, wanted)), replace=False))


def compare(
    cached: CachedTeacher, teacher: Teacher, packing: Packing, corpus: Corpus, rows: np.ndarray, device: torch.device
) -> None:
    """Compare what is stored of these rows with what the teacher says now.

    Raises CacheError for a difference beyond rounding, with its output, row and size.
    """
    batch = to_device(corpus.batch(rows), device)
    stored = cached.reader.read(rows, batch.word_mask.shape[1], device)
    with torch.no_grad():
        outputs = flatten(teacher(batch), batch.word_mask)
    told = {n: v[batch.word_mask] if cached.reader.facts.arrays[n].ragged else v for n, v in stored.items()}
    # Of equal logits either may be among the largest: those that are stored are asked for.
    live = packing.pack(outputs, {task: told[f"top.{task}"].long() for task in packing.top})
    if live.keys() != told.keys():
        raise CacheError(
            f"teacher {teacher.name}: the cache holds {', '.join(sorted(told))}; the live teacher says "
            f"{', '.join(sorted(live))}; delete the cache and run again"
        )
    for name, flat in live.items():
        found, expected = told[name].float(), flat.values.float()
        scale = float(expected.abs().max().clamp(min=1.0)) if expected.numel() else 1.0
        _judge(name, (found - expected).abs(), TOLERANCE[packing.dtype] * scale, flat.ragged, batch, teacher)
    for task in packing.top:
        logits = outputs[f"logits.{task}"]
        kept = logits.values.gather(-1, told[f"top.{task}"].long()).float().amin(-1)
        smallest = logits.values.topk(packing.top[task]).values.float().amin(-1)
        scale = float(logits.values.abs().max().clamp(min=1.0)) if kept.numel() else 1.0
        _judge(f"top.{task}", smallest - kept, TOLERANCE[packing.dtype] * scale, logits.ragged, batch, teacher)


def _judge(name: str, error: Tensor, allowed: float, ragged: bool, batch: Batch, teacher: Teacher) -> None:
    """error: [R, ...]. Raises CacheError where it is larger than allowed, or no number."""
    if not error.numel() or bool((error <= allowed).all()):
        return
    by_row = error.nan_to_num(nan=torch.inf).flatten(1).amax(1) if error.ndim > 1 else error.nan_to_num(nan=torch.inf)
    worst = int(by_row.argmax())
    row = int(batch.word_mask.nonzero()[worst, 0]) if ragged else worst
    raise CacheError(
        f"teacher {teacher.name}: the cached {name} of row {int(batch.rows[row])} ({batch.ids[row]}) differs from the "
        f"live teacher by {float(by_row[worst]):.3g}, expected at most {allowed:.3g}; the cache was made by other "
        "code, or on another device: delete it and run again"
    )
