"""Named arrays in a folder, written once and then memory-mapped. No torch here.

The folder's name is the hash of the `parts` that determine its content, so equal parts are found again and changed
parts are never confused. The manifest is written last and the folder is renamed into place: half a folder is never
opened. Encoded data and teachers' outputs are both stored so.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from mmkd.disk import sync
from mmkd.errors import MmkdError
from mmkd.record import hash_of

MANIFEST = "manifest.json"


class StoreError(MmkdError):
    """Stored arrays cannot be trusted; the message names the folder, the part that differs and what to do."""


class ArrayWriter:
    """Allocates arrays in a temporary folder, to be filled in place."""

    def __init__(self, folder: Path) -> None:
        """folder: where the arrays are written; must exist."""
        self._folder = folder
        self.arrays: dict[str, np.memmap] = {}

    def allocate(self, name: str, shape: tuple[int, ...], dtype: np.dtype | type) -> np.ndarray:
        """A new zero-filled array of that name, backed by its file."""
        path = self._folder / f"{name}.npy"
        self.arrays[name] = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
        return self.arrays[name]

    def put(self, name: str, values: np.ndarray) -> None:
        """Write a whole array."""
        np.copyto(self.allocate(name, values.shape, values.dtype), values)


def stored(parent: Path, parts: Mapping[str, str], fill: Callable[[ArrayWriter], None]) -> dict[str, np.ndarray]:
    """The arrays that `parts` determine: opened when they are there, otherwise made by `fill` first.

    parent: folder of all stores of one sort. parts: everything that the content depends on, by name.
    Raises StoreError when what is there does not match its own manifest, or the manifest not the parts.
    """
    folder = parent / hash_of(dict(parts))[:24]
    if not (folder / MANIFEST).exists():
        _build(folder, parts, fill)
    return _open(folder, parts)


def _build(folder: Path, parts: Mapping[str, str], fill: Callable[[ArrayWriter], None]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        writer = ArrayWriter(temporary)
        fill(writer)
        for array in writer.arrays.values():
            array.flush()
        hashes = {name: file_hash(temporary / f"{name}.npy") for name in sorted(writer.arrays)}
        write_synced(temporary / MANIFEST, json.dumps({"parts": dict(parts), "arrays": hashes}, indent=1))
        try:
            temporary.rename(folder)
            sync(folder.parent)
        except OSError as error:
            # Another process finished the same content first; theirs is as good as ours.
            if not (folder / MANIFEST).exists():
                raise StoreError(f"{folder}: a folder without {MANIFEST} is in the way ({error}); delete it") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _open(folder: Path, parts: Mapping[str, str]) -> dict[str, np.ndarray]:
    advice = f"delete {folder} and run again: it is made anew"
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
        found, hashes = manifest["parts"], manifest["arrays"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder}: the manifest cannot be read ({error}); {advice}") from error
    for name in sorted(set(parts) | set(found)):
        if parts.get(name) != found.get(name):
            raise StoreError(
                f"{folder}: `{name}` differs: found {found.get(name)!r}, expected {parts.get(name)!r}; {advice}"
            )
    read = file_hashes([folder / f"{name}.npy" for name in hashes])
    for path, expected in zip(read, hashes.values(), strict=True):
        if read[path] != expected:
            raise StoreError(f"{path}: the content is not what was written (sha256 differs); {advice}")
    return {name: open_array(folder / f"{name}.npy") for name in hashes}


def open_array(path: Path) -> np.ndarray:
    """The array of a file, memory-mapped, read-only.

    Raises StoreError for a file that is no array of numbers: an array of objects is a pickle.
    """
    try:
        array: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: not an array of numbers: {error}; delete {path.parent} and run again") from error
    return array


def file_hash(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def file_hashes(paths: Sequence[Path]) -> dict[Path, str | None]:
    """sha256 of each file, read by several threads at once; None for a file that is not there."""

    def one(path: Path) -> str | None:
        try:
            return file_hash(path)
        except FileNotFoundError:
            return None

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return dict(zip(paths, pool.map(one, paths), strict=True))


def write_synced(path: Path, text: str) -> None:
    """Write a text file, and wait until it is on the disk."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def code_hash(*paths: Path) -> str:
    """sha256 of source files (folders count with all their .py files), so that stored content follows the code."""
    files = sorted(file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path]))
    return hash_of([file_hash(file) for file in files])
