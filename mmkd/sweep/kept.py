"""What a worker keeps from one trial to the next: data opened, teachers made ready, caches compared with their hashes.

Most keys of a sweep change nothing of that. Kept is only what an experiment says literally the same about.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.progress import Progress

from mmkd.config.experiment import Experiment
from mmkd.ready import Ready, make_ready
from mmkd.record import hash_of

SECTIONS = ("data", "mixing", "augment", "tasks", "teachers", "student")
"""Sections that a `Ready` is made from; of `train` all but what the loop alone reads."""
OF_THE_LOOP = frozenset(
    {
        *("epochs", "batch_size", "accumulate", "lr", "weight_decay", "warmup", "clip", "patience", "average"),
        *("diagnose_every", "non_finite", "mixup", "adversarial", "checkpoint", "workers", "compile"),
    }
)


class Kept:
    """The last one that was made ready in this process."""

    def __init__(self) -> None:
        """Nothing yet."""
        self._key = ""
        self._ready: Ready | None = None

    def ready(self, experiment: Experiment, near: Path, progress: Progress) -> Ready:
        """The experiment made ready: from what is kept, where that is the same. Raises what `make_ready` raises."""
        key = f"{near.resolve()} {hash_of(made_from(experiment))}"
        if self._ready is not None and key == self._key:
            workspace = replace(self._ready.workspace, experiment=experiment, progress=progress)
            return replace(self._ready, workspace=workspace, seconds=dict.fromkeys(self._ready.seconds, 0.0))
        self._ready = None  # its networks may need the room that new ones take
        self._ready, self._key = make_ready(experiment, near, progress), key
        return self._ready


def made_from(experiment: Experiment) -> dict[str, object]:
    """All that decides what is made ready."""
    plain = experiment.dump()
    asked = sorted({needs.teacher for loss in experiment.losses.values() for needs in loss.teacher_needs()})
    train = {key: value for key, value in plain["train"].items() if key not in OF_THE_LOOP}
    return {**{name: plain[name] for name in SECTIONS}, "train": train, "asked": asked}
