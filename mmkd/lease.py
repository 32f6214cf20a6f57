"""Who may use a folder: one writer, or any number of readers, by `flock` on a file. No torch here.

The system frees a lock when its process ends, however it ends, so nothing is left behind that has to be cleaned up.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from mmkd.errors import MmkdError

LOCK = "lock"
PATIENCE = 1.0
"""Seconds between two looks at whether a folder is free."""


_held: set[int] = set()


def _let_go() -> None:
    """A process that was forked has no part in the lease, and must not keep it when the one that holds it is gone."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go)


class Busy(MmkdError):
    """Another process writes this folder; the message says which."""

    exit_code: ClassVar[int] = 4


@contextmanager
def alone(folder: Path, name: str = LOCK) -> Iterator[bool]:
    """Hold the folder as its only user; gives False, and holds nothing, while others use it.

    folder: made when it is not there. name: of the file that is locked, in the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place = _take(folder / name, fcntl.LOCK_EX)
    if place is not None:
        _held.add(place)
    try:
        yield place is not None
    finally:
        if place in _held:
            _held.remove(place)
            os.close(place)


@contextmanager
def only_writer(folder: Path, name: str = LOCK) -> Iterator[None]:
    """Hold the folder as its only user. Raises Busy while another process does."""
    with alone(folder, name) as held:
        if not held:
            raise Busy(f"{folder / name}: {_holder(folder / name)} holds it; wait until it has ended, or stop it")
        (folder / name).write_text(_me(), "utf-8")
        yield


@contextmanager
def in_turn(folder: Path, name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder as its only user, once those who hold it now have ended. say: told whom it waits for."""
    told = False
    while True:
        with alone(folder, name) as held:
            if held:
                (folder / name).write_text(_me(), "utf-8")
                yield
                return
        if not told:
            say(f"{folder}: waits for {_holder(folder / name)}")
            told = True
        time.sleep(PATIENCE)


def _holder(lock: Path) -> str:
    """Who holds it, as they say themselves."""
    try:
        return lock.read_text("utf-8") or "another process"
    except OSError:
        return "another process"


def _me() -> str:
    started = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return f"process {os.getpid()} on {socket.gethostname()} ({Path(sys.argv[0]).name}, since {started})"


def shared(folder: Path) -> int | None:
    """A file descriptor that holds the folder for reading until it is closed; None where nothing can be locked.

    A cache on a read-only disk has no writer to be kept away.
    """
    try:
        return _take(folder / LOCK, fcntl.LOCK_SH)
    except OSError:
        return None


def _take(path: Path, kind: int) -> int | None:
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
