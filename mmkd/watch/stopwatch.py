"""Wall time by phase."""

from __future__ import annotations

import time

import torch


class Stopwatch:
    """Adds up the seconds of each phase. On an accelerator each phase waits until its own work is done there."""

    def __init__(self, device: torch.device) -> None:
        """Time nothing yet. device: where the work is done."""
        self.seconds: dict[str, float] = {}
        self._device, self._phase, self._since = device, "", 0.0

    def begin(self, phase: str) -> None:
        """End the phase before, and begin this one; the empty name is not timed."""
        if self._device.type != "cpu":
            torch.accelerator.synchronize(self._device)
        now = time.perf_counter()
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now
