"""Files that are on the disk before anything rests on them. No torch here."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from mmkd.errors import MmkdError


class DiskError(MmkdError):
    """The disk is full, or does not take or give what it should; the message says where, and the bytes needed."""

    exit_code: ClassVar[int] = 5


@contextmanager
def told_of_disk(path: Path, size: int) -> Iterator[None]:
    """Turn an error of the system into a DiskError. size: bytes to be written."""
    try:
        yield
    except OSError as error:
        free = shutil.disk_usage(_nearest(path)).free
        where = f"{path}: {error.strerror or error}; {size:,} bytes to be written, {free:,} free there"
        what = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "look at the disk and the rights to it"
        raise DiskError(f"{where}; {what}, and run the same command again: it goes on from what was saved") from error


def _nearest(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())


def write(path: Path, data: bytes) -> None:
    """Write a new file, and wait until it is on the disk."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's entries, are on the disk."""
    place = os.open(path, os.O_RDONLY)
    try:
        os.fsync(place)
    finally:
        os.close(place)


def rename(old: Path, new: Path) -> None:
    """Give a file or folder another name in the same folder, in one step, and wait until it is on the disk."""
    os.rename(old, new)
    sync(new.parent)
