"""When a training saves its state, and that it stops when it is asked to."""

from __future__ import annotations

import time
from collections.abc import Callable

from accelerate import Accelerator

from mmkd import interrupt
from mmkd.checkpoints import Checkpoints
from mmkd.config.checkpoint import Checkpoint
from mmkd.interrupt import Interrupted
from mmkd.learning import Learning
from mmkd.processes import told_by_all, told_by_main

Clock = Callable[[], float]
"""Gives seconds."""

UNSAVED = 30.0
"""Seconds of training that may be lost in the evaluation after it."""


class Keeper:
    """Saves one training, in every process of it at the same steps; the main one writes."""

    def __init__(
        self,
        checkpoints: Checkpoints,
        settings: Checkpoint,
        accelerator: Accelerator,
        say: Callable[[str], None],
        clock: Clock = time.monotonic,
    ) -> None:
        """checkpoints: of this training; of all processes together, which see the same folder. say: told of a start."""
        self._say = say
        self._checkpoints, self._settings, self._accelerator, self._clock = checkpoints, settings, accelerator, clock
        self._at, self._saved = self._now(None), clock()

    def take_up(self, learning: Learning) -> bool:
        """Go on from the newest valid checkpoint; False when there is none. Raises OtherRun, see `Checkpoints`."""
        saved = self._checkpoints.newest() if self._accelerator.is_main_process else None
        saved = told_by_main(saved, self._accelerator)
        if saved is None:
            return False
        learning.take_up(saved, self._accelerator.process_index)
        if self._accelerator.is_main_process:
            self._say(f"goes on after step {saved.step}, from {self._checkpoints.folder}")
        self._at = self._now(learning)
        return True

    def visit(self, learning: Learning, ended: bool = False, leaves_off: bool = False) -> None:
        """Save after a step, or at an epoch's end, if it is time to. ended: nothing comes after it but evaluation.

        leaves_off: save in any case, since others go on from here.
        Raises Interrupted, when a signal asked for it, once the state is saved; DiskError when it cannot be saved.
        """
        by = interrupt.asked()
        due = self._now(learning) - self._at >= self._settings.every
        due = due or (ended and self._clock() - self._saved > UNSAVED)
        if self._accelerator.num_processes > 1:
            asked = [name for name in told_by_all(by, self._accelerator) if name is not None]
            by, due = (asked[0] if asked else None), told_by_main(due, self._accelerator)
        if by is None and not due and not leaves_off:
            return
        self._save(learning, replace=leaves_off)
        self._at, self._saved = self._now(learning), self._clock()
        if by is not None:
            raise Interrupted(f"stopped by {by}; saved after step {learning.step}: the same command goes on from there")

    def _save(self, learning: Learning, replace: bool) -> None:
        index = self._accelerator.process_index
        own = told_by_all((f"own-{index}", {k: v.cpu() for k, v in learning.own().items()}), self._accelerator)
        sums = told_by_all(learning.own_sums(), self._accelerator)
        if self._accelerator.is_main_process:
            tensors = {"common": learning.common(), **dict(own)}
            self._checkpoints.save(learning.step, tensors, learning.facts(sums), replace)
        told_by_main(None, self._accelerator)  # nobody goes on, or ends, before it is on the disk

    def _now(self, learning: Learning | None) -> float:
        """How far things are, in the setting's unit."""
        if self._settings.unit == "minutes":
            return self._clock() / 60
        if learning is None:
            return 0
        return learning.epoch if self._settings.unit == "epochs" else learning.step
