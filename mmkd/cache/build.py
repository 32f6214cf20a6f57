"""Completes a cache entry: one writer, whole shards only, and what an interrupted build left goes on. No torch here."""

from __future__ import annotations

import datetime
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.arrays import ArrayWriter, StoreError, file_hashes, write_synced
from mmkd.cache.entry import (
    ENTRY,
    MANIFEST,
    SHARD,
    Array,
    Lost,
    Manifest,
    Shard,
    Start,
    differing,
    read_manifest,
    seal,
    shard_name,
    unseal,
)
from mmkd.disk import sync
from mmkd.lease import alone

SHARD_ROWS = 2048
"""Rows of a shard: enough to sort them into batches of equal length, few enough to lose little when a build ends."""
WAIT = 0.2
"""Seconds between looks at what another writer does."""


@dataclass(frozen=True)
class Filled:
    """What a shard holds, as `Shard` has it."""

    words: int
    arrays: dict[str, Array]
    grids: dict[str, tuple[int, int]]
    classes: dict[str, int]
    lost: dict[str, Lost]


Fill = Callable[[ArrayWriter, int, int], Filled]
"""Writes the arrays of the rows from one number up to another."""


def complete(folder: Path, start: Start, fill: Fill, say: Callable[[str], None]) -> Manifest:
    """The manifest of an entry, which is built first where it is not whole. say: told when something is waited for.

    Raises StoreError when what is there cannot be read, or is another entry's.
    """
    waiting = False
    while not (folder / MANIFEST).exists():
        with alone(folder) as held:
            if held and not (folder / MANIFEST).exists():
                _build(folder, start, fill)
        if not held:
            if not waiting:
                say(f"cache of {start.about}: another process makes {folder.name}; waiting for it")
            waiting = True
            time.sleep(WAIT)
    return read_manifest(folder)


def ranges(rows: int) -> list[tuple[int, int]]:
    """First row of each shard, and the one after its last."""
    return [(first, min(first + SHARD_ROWS, rows)) for first in range(0, rows, SHARD_ROWS)]


def _build(folder: Path, start: Start, fill: Fill) -> None:
    _begin(folder, start)
    shards = []
    for number, (first, end) in enumerate(ranges(start.rows)):
        place = folder / shard_name(number)
        shard = whole_shard(place)
        if shard is None:
            shutil.rmtree(place, ignore_errors=True)
            shard = _write(place, first, end, fill)
        shards.append(shard)
    _put(folder / MANIFEST, seal(_manifest(start, shards)))


def _begin(folder: Path, start: Start) -> None:
    for left in folder.glob(".*-*"):  # of writers that were killed: there is no other one now
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    if not (folder / ENTRY).exists():
        _put(folder / ENTRY, seal(start))
    found = unseal(folder / ENTRY, Start)
    for name in differing(found.parts, start.parts):
        found_part, expected = found.parts.get(name), start.parts.get(name)
        raise StoreError(f"{folder}: `{name}` differs: found {found_part!r}, expected {expected!r}; delete the folder")


def whole_shard(place: Path) -> Shard | None:
    """What a shard's folder holds; None when it is not there, or not as it was written."""
    try:
        shard = unseal(place / SHARD, Shard)
    except StoreError:
        return None
    found = file_hashes([place / name for name in shard.files])
    return shard if list(found.values()) == list(shard.files.values()) else None


def _write(place: Path, first: int, end: int, fill: Fill) -> Shard:
    began = time.perf_counter()
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}-", dir=place.parent))
    try:
        writer = ArrayWriter(temporary)
        filled = fill(writer, first, end)
        paths = [temporary / f"{name}.npy" for name in sorted(writer.arrays)]
        for array in writer.arrays.values():
            array.flush()
        writer.arrays.clear()
        shard = Shard(
            start=first,
            end=end,
            words=filled.words,
            arrays=filled.arrays,
            grids=filled.grids,
            classes=filled.classes,
            lost=filled.lost,
            files={path.name: str(sha256) for path, sha256 in file_hashes(paths).items()},
            bytes=sum(path.stat().st_size for path in paths),
            seconds=time.perf_counter() - began,
        )
        write_synced(temporary / SHARD, seal(shard))
        for path in (*paths, temporary):
            sync(path)
        temporary.rename(place)
        sync(place.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return shard


def _manifest(start: Start, shards: Sequence[Shard]) -> Manifest:
    return Manifest(
        parts=start.parts,
        about=start.about,
        rows=start.rows,
        words=sum(shard.words for shard in shards),
        bytes=sum(shard.bytes for shard in shards),
        seconds=sum(shard.seconds for shard in shards),
        made=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        shards=tuple(shards),
    )


def _put(path: Path, text: str) -> None:
    """Write a file so that it is whole or absent."""
    temporary = path.with_name(f".{path.name}-{os.getpid()}")
    write_synced(temporary, text)
    temporary.replace(path)
    sync(path.parent)
