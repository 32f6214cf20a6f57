"""What happened in a sweep, line by line: only ever appended to, each line on the disk before the sweep goes on.

Each line is JSON and ends with a checksum over itself and the line before, so that a line that was changed, lost or
moved is seen. A line that was cut off by a crash is the last one: it never counted, and is taken away. No torch here.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mmkd.disk import sync, told_of_disk
from mmkd.errors import MmkdError

CHECK = "check"
LENGTH = 16
"""Hexadecimal digits of a line's checksum."""

Event = dict[str, Any]


class JournalError(MmkdError):
    """A journal is not what was written; the message names the line."""


def read_journal(path: Path) -> list[Event]:
    """All events, without a last line that was cut off. Raises JournalError for a line that is not what was written."""
    events, _ = _read(path)
    return events


class Journal:
    """A journal that is open for writing. One process at a time may: the caller holds the sweep's lease."""

    def __init__(self, path: Path) -> None:
        """Take it up, or begin it. Raises JournalError for a line that is not what was written."""
        self.path = path
        self.events, size = _read(path) if path.exists() else ([], 0)
        self._last = self.events[-1][CHECK] if self.events else ""
        with told_of_disk(path, 0):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
            os.ftruncate(self._file, size)
            os.lseek(self._file, 0, os.SEEK_END)
            sync(path.parent)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def write(self, event: Mapping[str, Any]) -> Event:
        """Append an event; it is on the disk when this returns. Raises DiskError when it cannot be."""
        content = json.dumps(event, ensure_ascii=False)
        found: Event = {**json.loads(content), CHECK: _check(self._last, content)}
        line = _line(content, found[CHECK])
        with told_of_disk(self.path, len(line)):
            start = os.lseek(self._file, 0, os.SEEK_CUR)
            try:
                if os.write(self._file, line) < len(line):
                    raise OSError(28, "only a part was written")
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, start)
                os.lseek(self._file, start, os.SEEK_SET)
                raise
        self._last = found[CHECK]
        self.events.append(found)
        return found


def _read(path: Path) -> tuple[list[Event], int]:
    """The events, and the bytes that they take."""
    data = path.read_bytes()
    events: list[Event] = []
    last, size = "", 0
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line's end was cut off
        problem = None
        try:
            text = line.decode("utf-8")
            event = json.loads(text)
            content = json.dumps({k: v for k, v in event.items() if k != CHECK}, ensure_ascii=False)
            if event[CHECK] != _check(last, content) or line + b"\n" != _line(content, event[CHECK]):
                problem = "it, or the line before, is not what was written (its checksum differs)"
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            problem = f"no line of a journal: {error!r}"
        if problem is not None:
            raise JournalError(
                f"{path}:{number}: {problem}; restore the file, or begin a new sweep with --fresh: the records of the "
                f"trials before it lie in {path.parent}/trials"
            )
        events.append(event)
        last, size = event[CHECK], size + len(line) + 1
    return events, size


def _check(last: str, content: str) -> str:
    return hashlib.sha256(f"{last}{content}".encode()).hexdigest()[:LENGTH]


def _line(content: str, check: str) -> bytes:
    return f'{content[:-1]}, "{CHECK}": "{check}"}}\n'.encode()
