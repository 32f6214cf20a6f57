"""What a worker is told to do, and what it says when it has done it: plain data that crosses processes as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from mmkd.config.section import Section
from mmkd.disk import rename, told_of_disk, write
from mmkd.sweep.trials import Bar, SeedResult

TRIALS, OUTCOME, PULSE, STOP, SAID = "trials", "outcome.json", "pulse", "stop", "said.txt"


class Order(Section):
    """One attempt at one trial.

    overrides: of the experiment file `target`, all of them. folder: of the sweep. rungs, bar: as in `Trial`.
    objectives: names, the first is the one that early stopping looks at. cpus, gpus: see `PerTrial`. processes: that
    train the trial together.
    code: hash of mmkd's own code, as the sweep began with it. node_cache: see `Sweep`. cache: the project's own, and of
    the teachers' outputs in it those that are read. parent: the trial whose state it begins with. until: epochs after
    which it leaves off, so that others can begin with its state; None: it goes to the end.
    """

    number: int
    attempt: int
    overrides: list[str]
    target: str
    folder: str
    seeds: list[int]
    objectives: list[str]
    rungs: dict[int, float]
    bar: dict[str, Any] | None
    give_up: float | None
    cpus: int
    gpus: float
    processes: int
    code: str
    node_cache: str | None
    cache: str
    entries: list[str]
    parent: int | None = None
    until: int | None = None

    @property
    def place(self) -> Path:
        """The trial's own folder."""
        return place_of(Path(self.folder), self.number)

    def bar_of(self) -> Bar | None:
        """The bar, if there is one."""
        return None if self.bar is None else Bar(**self.bar)


class Outcome(Section):
    """How an attempt ended. reason: why it broke off; None: the trial has ended, with `status`.

    curve: best so far after each epoch of the first seed. says: the error, in a line.
    """

    attempt: int
    reason: Literal["failed", "out of memory", "stopped", "unfit"] | None
    status: str | None
    seeds: list[dict[str, Any]]
    curve: list[float]
    says: str

    def results(self) -> list[SeedResult]:
        """One for each seed that was run."""
        return [SeedResult(**seed) for seed in self.seeds]


def place_of(folder: Path, number: int) -> Path:
    """Folder of a trial of the sweep in `folder`."""
    return folder / TRIALS / f"{number:04}"


def write_outcome(place: Path, outcome: Outcome) -> None:
    """Write it, whole or not at all. Raises DiskError when it cannot be written."""
    data = outcome.model_dump_json(indent=1).encode()
    new = place / f"{OUTCOME}.new"
    with told_of_disk(new, len(data)):
        new.unlink(missing_ok=True)
        write(new, data)
        rename(new, place / OUTCOME)


def read_outcome(place: Path, attempt: int) -> Outcome | None:
    """What this attempt left; None when it left nothing."""
    try:
        found = Outcome.model_validate(json.loads((place / OUTCOME).read_bytes()))
    except (OSError, ValueError):
        return None
    return found if found.attempt == attempt else None
