"""Which rows of which set an epoch reads, and which of them make a batch, as `mixing` says. No torch here.

All follows from (seed, epoch) and the names of the sets: nothing is kept from epoch to epoch, so a run that goes on
reads what it would have read. The rows of one set are an endless stream, one seeded permutation of the set after the
other, of which each epoch reads the next piece: after any number of epochs, no row was read more than once more than
another, however small or large the set's share. Within one epoch, a row can come twice where two permutations meet.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from fractions import Fraction
from itertools import pairwise, zip_longest

import numpy as np

from mmkd.config.mixing import Mixing, RoundRobin, mistakes, weight
from mmkd.config.problems import dotted
from mmkd.data.base import DataError

POOL = 50
"""Batches that are sorted by length together, about: large enough to save padding, small enough to stay random."""


def rows_per_epoch(sizes: Mapping[str, int], mixing: Mixing) -> dict[str, int]:
    """Rows that each epoch reads of each set; they sum to `mixing.rows`, or to the rows of all sets.

    sizes: rows of each set. Shares are rounded by largest remainder, equal remainders in the order of the names.
    Raises DataError for a set without rows, a set that the mixing does not name, and one whose share is below one row.
    """
    _refuse([f"data.{name}: found no row to train on" for name, size in sizes.items() if size < 1])
    _refuse([f"{dotted(('mixing', *place))}: {text}" for place, text in mistakes(mixing, sizes)])
    rows = sum(sizes.values()) if mixing.rows is None else mixing.rows
    weights = {name: weight(mixing, name, size) for name, size in sizes.items()}
    quotas = {name: rows * each / sum(weights.values(), Fraction()) for name, each in weights.items()}
    counts = {name: int(quota) for name, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda name: (counts[name] - quotas[name], name))
    for name in by_remainder[: rows - sum(counts.values())]:
        counts[name] += 1
    advice = f"of {rows} an epoch; expected one or more: raise `mixing.rows` or its share"
    _refuse([f"mixing: data set `{name}` has no row {advice}" for name, count in counts.items() if count == 0])
    return counts


def _refuse(found: list[str]) -> None:
    if found:
        raise DataError(None, None, None, "\n".join(found))


def epoch_rows(sizes: Mapping[str, int], mixing: Mixing, seed: int, epoch: int) -> dict[str, np.ndarray]:
    """Row numbers within each set, from 0, that an epoch reads, sorted; a row that is read twice stands twice.

    sizes: rows of each set. epoch: from 0. A set's rows depend on its own name, size and share alone.
    Raises DataError as `rows_per_epoch` does.
    """
    counts = rows_per_epoch(sizes, mixing)
    return {name: _piece(name, sizes[name], counts[name], seed, epoch) for name in sizes}


def _piece(name: str, size: int, count: int, seed: int, epoch: int) -> np.ndarray:
    """Rows `epoch * count` to `(epoch + 1) * count` of the set's stream."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    start, stop = epoch * count, (epoch + 1) * count
    first, last = start // size, -(-stop // size)
    cycles = [np.random.default_rng([seed, key, cycle]).permutation(size) for cycle in range(first, last)]
    return np.sort(np.concatenate(cycles)[start - first * size : stop - first * size])


def batches_per_epoch(sizes: Mapping[str, int], batch_size: int, mixing: Mixing) -> int:
    """Number of batches in every epoch. Raises DataError as `rows_per_epoch` does."""
    counts = rows_per_epoch(sizes, mixing).values()
    return sum(-(-count // batch_size) for count in (counts if mixing.batches == "pure" else [sum(counts)]))


def training_batches(
    lengths: np.ndarray, sizes: Mapping[str, int], batch_size: int, mixing: Mixing, seed: int, epoch: int
) -> list[np.ndarray]:
    """Row numbers of the corpus for each batch of an epoch: rows of similar length together, in random order.

    lengths: words of each row of the corpus. sizes: rows of each set, in the order in which the corpus holds the sets.
    The last batch of a set, or of the mix, may be smaller; no row is left out.
    Raises DataError as `rows_per_epoch` does, and ValueError when `lengths` and `sizes` count different rows.
    """
    if len(lengths) != sum(sizes.values()):
        raise ValueError(f"found {len(lengths)} lengths for sets of {dict(sizes)} rows; expected one for each row")
    starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]), strict=False))
    chosen = {name: starts[name] + rows for name, rows in epoch_rows(sizes, mixing, seed, epoch).items()}
    generator = np.random.default_rng([seed, epoch])
    if mixing.batches == "mixed":
        parts = [_bucketed(np.concatenate(list(chosen.values())), lengths, batch_size, generator)]
    else:
        parts = [_bucketed(chosen[name], lengths, batch_size, generator) for name in sorted(chosen)]
    if isinstance(mixing, RoundRobin):
        shuffled = [[part[i] for i in generator.permutation(len(part))] for part in parts]
        return [batch for turn in zip_longest(*shuffled) for batch in turn if batch is not None]
    batches = [batch for part in parts for batch in part]
    return [batches[i] for i in generator.permutation(len(batches))]


def _bucketed(rows: np.ndarray, lengths: np.ndarray, size: int, generator: np.random.Generator) -> list[np.ndarray]:
    """Batches of these rows: shuffled, then sorted by length within pools of equally many batches, give or take one.

    A rest of a few batches, as a pool of its own, would be padded most.
    """
    order = rows[generator.permutation(len(rows))]
    batches = -(-len(order) // size)
    pools = max(1, round(batches / POOL))
    ends = [batches * pool // pools * size for pool in range(pools + 1)]
    found = []
    for start, end in pairwise(ends):
        pool = order[start:end]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        found += [pool[i : i + size] for i in range(0, len(pool), size)]
    return found
