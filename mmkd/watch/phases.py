"""The phases of the training loop, with the teachers' part taken out of the phase in which they are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

PHASES = ("loading", "student", "teachers", "losses", "diagnostics", "backward", "bookkeeping", "optimizer")
"""Of one batch. The loop tells all but `teachers`; between epochs it tells `evaluation` too.

loading: reading the batch and bringing it to the device. bookkeeping: sums for the history."""


class Phases:
    """Passes on what the loop tells, as a `Watch` of `train`, and counts the batches that are done."""

    def __init__(self, begin: Callable[[str, int], None]) -> None:
        """begin: called with each phase as it begins, and with the batches done before."""
        self._begin = begin
        self._phase = ""
        self._outer: list[str] = []
        self._batches = 0

    def __call__(self, phase: str) -> None:
        """The loop is now in this phase."""
        self._batches += self._phase == "optimizer" and phase == "loading"
        self._phase = phase
        self._begin(phase, self._batches)

    @contextmanager
    def with_teachers(self, teachers: Iterable[nn.Module]) -> Iterator[None]:
        """Tell `teachers` while one of them speaks in this process, for as long as the context lasts."""
        hooks = []
        for teacher in teachers:
            hooks.append(teacher.register_forward_pre_hook(self._asked))
            hooks.append(teacher.register_forward_hook(self._answered, always_call=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _asked(self, *_: Any) -> None:
        self._outer.append(self._phase)
        self("teachers")

    def _answered(self, *_: Any) -> None:
        self(self._outer.pop())
