"""Who may use a cache entry: one writer, or any number of readers, by `flock` on a file inside it. No torch here.

The system frees a lock when its process ends, however it ends, so nothing is left behind that has to be cleaned up.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Hold the folder as its only user; gives False, and holds nothing, while others use it.

    folder: made when it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = _take(folder, fcntl.LOCK_EX)
    try:
        yield place is not None
    finally:
        if place is not None:
            os.close(place)


def shared(folder: Path) -> int | None:
    """A file descriptor that holds the folder for reading until it is closed; None where nothing can be locked.

    A cache on a read-only disk has no writer to be kept away.
    """
    try:
        return _take(folder, fcntl.LOCK_SH)
    except OSError:
        return None


def _take(folder: Path, kind: int) -> int | None:
    path = folder / LOCK
    place = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(place, kind | fcntl.LOCK_NB)
        found = os.stat(path)  # the folder may have been deleted, and made anew, while it was opened
        if os.path.samestat(found, os.fstat(place)):
            return place
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(place)
    return None
