"""Stop when asked: SIGTERM, SIGUSR1 and Ctrl-C let a run save what it has; a second Ctrl-C does not. No torch here.

Where nothing can be saved, the first signal ends the work at once, by an exception: what is stored is stored whole.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import ClassVar

from mmkd.errors import MmkdError

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)


class Interrupted(MmkdError):
    """The run was asked to stop; the message says what it saved."""

    exit_code: ClassVar[int] = 75


@dataclass
class _Asked:
    """What this process was asked. by: the signal's name. saving: whether somebody looks at it by himself."""

    by: str | None = None
    saving: bool = False
    on_ask: Callable[[], None] | None = None


_asked = _Asked()


@contextmanager
def stops_when_asked(on_ask: Callable[[], None] | None = None) -> Iterator[None]:
    """Heed signals for as long as the context lasts. on_ask: called when the first one comes, in its handler.

    Elsewhere than in a process's main thread, which alone can, it does nothing: a sweep's trial is asked by `ask`.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, _heed) for number in SIGNALS}
    outer = _asked.on_ask
    _asked.by, _asked.on_ask = None, on_ask
    try:
        yield
    finally:
        _asked.by, _asked.on_ask = None, outer  # what comes next was asked nothing
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def saves_when_asked() -> Iterator[None]:
    """For as long as the context lasts, a signal is only noted: who is in it looks at `asked`, and saves.

    Raises Interrupted at its end for a signal that came after the last look.
    """
    before, _asked.saving = _asked.saving, True
    try:
        yield
    finally:
        _asked.saving = before
    if _asked.by is not None and not before:
        raise Interrupted(_stopped())


def ask(by: str | None) -> None:
    """Ask this process to stop, as a signal would that is only noted; None takes back what it was asked before.

    by: what messages call it. For a process that has no signals of its own, as a sweep's worker.
    """
    _asked.by = by


def asked() -> str | None:
    """The name of the signal that asked this process to stop, if one did."""
    return _asked.by


def _heed(number: int, frame: FrameType | None) -> None:
    if number == signal.SIGINT and _asked.by is not None:
        raise KeyboardInterrupt
    _asked.by = signal.Signals(number).name
    if _asked.on_ask is not None:
        _asked.on_ask()
    if not _asked.saving:
        raise Interrupted(_stopped())


def _stopped() -> str:
    return f"stopped by {_asked.by}; what was finished before is kept: the same command goes on from there"
