"""Reads rows of cache entries: one gather per array and shard, from memory-mapped files that are opened once."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmkd.cache.entry import Manifest, Shard, open_entry


@dataclass(frozen=True)
class _Rows:
    """Rows of one shard: their numbers in it, and their places in the batch."""

    shard: int
    rows: np.ndarray
    places: np.ndarray


class Reader:
    """The rows of several entries, one after the other. All were made by one teacher, in one way.

    It can be sent to other processes, which open the files for themselves.
    """

    def __init__(self, folders: Sequence[Path], manifests: Sequence[Manifest]) -> None:
        """Open the entries, which must be whole and verified."""
        self._folders, self._manifests = tuple(folders), tuple(manifests)
        shards = [shard for manifest in manifests for shard in manifest.shards]
        self._starts = np.concatenate([[0], np.cumsum([shard.end - shard.start for shard in shards])]).astype(np.int64)
        self.facts: Shard = shards[0]
        """What is in the first shard, which is in all others too."""
        self._open()

    def _open(self) -> None:
        self._arrays: list[dict[str, np.ndarray]] = []
        for folder, manifest in zip(self._folders, self._manifests, strict=True):
            arrays, lock = open_entry(folder, manifest)
            self._arrays += arrays
            if lock is not None:
                weakref.finalize(self, os.close, lock)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_arrays"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._open()

    def __len__(self) -> int:
        """Number of rows."""
        return int(self._starts[-1])

    @property
    def folders(self) -> tuple[Path, ...]:
        """Of the entries."""
        return self._folders

    @property
    def bytes(self) -> int:
        """Bytes of all entries."""
        return sum(manifest.bytes for manifest in self._manifests)

    def read(self, rows: np.ndarray, width: int, device: torch.device) -> dict[str, Tensor]:
        """What is stored of these rows, by name: floats as float32; outputs over words padded to [B, width, ...].

        rows: [B], counted over all entries.
        """
        groups = list(self._groups(rows))
        words = [self._words(group, width) for group in groups]
        found: dict[str, Tensor] = {}
        for name, facts in self.facts.arrays.items():
            shape = (len(rows) * width if facts.ragged else len(rows), *facts.shape)
            first = self._arrays[groups[0].shard][name] if groups else np.zeros(0)
            if len(groups) == 1 and not facts.ragged:
                values = first.take(groups[0].rows, 0)
            else:
                values = np.zeros(shape, first.dtype)
                for group, (source, target) in zip(groups, words, strict=True):
                    array = self._arrays[group.shard][name]
                    if facts.ragged:
                        values[target] = array.take(source, 0)
                    else:
                        values[group.places] = array.take(group.rows, 0)
            tensor = torch.from_numpy(values).to(device)
            if facts.kind == "bf16":
                tensor = tensor.view(torch.bfloat16)  # numpy knows no bfloat16
            if facts.ragged:
                tensor = tensor.view(len(rows), width, *facts.shape)
            found[name] = tensor.float() if tensor.is_floating_point() else tensor
        return found

    def _groups(self, rows: np.ndarray) -> Iterator[_Rows]:
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        order = np.argsort(shard, kind="stable")
        numbers, begins = np.unique(shard[order], return_index=True)
        for number, places in zip(numbers.tolist(), np.split(order, begins[1:]), strict=True):
            yield _Rows(number, rows[places] - self._starts[number], places)

    def _words(self, group: _Rows, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Where the words of these rows lie in the shard, and where in a padded batch."""
        offsets = self._arrays[group.shard]["offsets"]
        begins = offsets.take(group.rows)
        counts = offsets.take(group.rows + 1) - begins
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.repeat(begins, counts) + within, np.repeat(group.places * width, counts) + within
