"""Batches of a corpus: read in order of length, loaded ahead, brought to a device."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from mmkd.data.corpus import Corpus
from mmkd.types import Batch


def reading_rows(lengths: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """Row numbers of each batch when order does not matter: sorted by length."""
    order = np.argsort(lengths, kind="stable")
    return [order[i : i + batch_size] for i in range(0, len(order), batch_size)]


def load(corpus: Corpus, rows: list[np.ndarray], workers: int = 0) -> Iterable[Batch]:
    """The batches of these rows, read ahead by `workers` processes (0: by this one)."""
    # The loader draws a base seed even when nothing is random; its own generator keeps that off the run's stream.
    generator = torch.Generator().manual_seed(0)
    return DataLoader(
        corpus, sampler=rows, batch_size=None, num_workers=workers, generator=generator, worker_init_fn=_heed_no_signals
    )


def _heed_no_signals(worker: int) -> None:
    """Ctrl-C reaches a reading process too, which the run ends itself once it has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)


def to_device(value: Any, device: torch.device) -> Any:
    """A batch, or a part of one, on another device."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: to_device(item, device) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{f.name: to_device(getattr(value, f.name), device) for f in fields(value)})
    return value
