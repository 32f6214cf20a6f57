"""The trials of a sweep, as its journal tells them. No torch and no Ray here."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmkd.sweep.journal import Event
from mmkd.sweep.space import Values, change, overrides

FINISHED, STOPPED, GIVEN_UP, FAILED, WENT_ON = "finished", "stopped early", "given up", "failed", "went on"
"""How a trial ends: all epochs of all seeds; by the stopping rule; without its last seeds; broken off for good; at the
end of its generation, so that others go on from there."""

LOST, OUT_OF_MEMORY, HANGING, ASKED, UNFIT = "lost", "out of memory", "hanging", "stopped", "unfit"
"""Why an attempt broke off, beside its own error, which is `failed`. stopped: it was asked to. unfit: where it ran, no
trial can: the disk is full, or the code is another one."""


@dataclass(frozen=True)
class SeedResult:
    """One seed of a trial. objectives: by name. record: digest of its record. seconds: that it took, in all."""

    seed: int
    objectives: dict[str, float]
    record: str
    epochs: int
    seconds: float


@dataclass(frozen=True)
class Bar:
    """What a trial's mean is held against between two seeds. best: the best mean of `seeds` seeds among known trials.

    std: standard deviation over the seeds of a trial, pooled over known trials.
    """

    best: float
    seeds: int
    std: float


@dataclass(frozen=True)
class BrokeOff:
    """An attempt that did not end. reason: lost, out of memory, hanging, failed, or stopped when asked.

    counts: whether it was the trial's own misfortune, and not the end of the process that leads the sweep.
    """

    attempt: int
    reason: str
    says: str
    counts: bool


@dataclass
class Trial:
    """One trial. rungs: epoch -> what the best score so far must reach there to go on.

    parent: the trial whose state it begins with, at the epoch `begins`; None: it begins anew.
    status: None while it is under way. curve: the first objective's best so far after each epoch of the first seed.
    seconds: of all its attempts.
    """

    number: int
    values: Values
    rungs: dict[int, float]
    bar: Bar | None
    parent: Trial | None = None
    begins: int = 0
    attempts: int = 0
    running: bool = False
    broke_off: list[BrokeOff] = field(default_factory=list)
    status: str | None = None
    seeds: list[SeedResult] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    seconds: float = 0.0
    says: str = ""

    @property
    def objectives(self) -> dict[str, float]:
        """Means over the seeds; empty for one that failed."""
        return mean_objectives([seed.objectives for seed in self.seeds])

    @property
    def overrides(self) -> list[str]:
        """With them, the experiment gives the trial from the first epoch on: its first ancestor's, and what changed."""
        if self.parent is None:
            return overrides(self.values)
        other = {key: value for key, value in self.values.items() if value != self.parent.values[key]}
        return [*self.parent.overrides, *([change(self.begins, other)] if other else [])]


def mean_objectives(seeds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over seeds, by name."""
    return {name: statistics.fmean(seed[name] for seed in seeds) for name in (seeds[0] if seeds else ())}


def trials_of(events: Iterable[Event]) -> dict[int, Trial]:
    """Every trial that was chosen, by number."""
    found: dict[int, Trial] = {}
    for event in events:
        take_in(found, event)
    return found


def take_in(trials: dict[int, Trial], event: Event) -> None:
    """Let one more event happen."""
    match event["event"]:
        case "chosen":
            rungs = {int(epoch): value for epoch, value in event["rungs"].items()}
            bar = None if event["bar"] is None else Bar(**event["bar"])
            parent = None if event["parent"] is None else trials[event["parent"]]
            trials[event["trial"]] = Trial(event["trial"], event["values"], rungs, bar, parent, event["begins"])
        case "started":
            trial = trials[event["trial"]]
            trial.attempts, trial.running = event["attempt"], True
        case "broke off":
            trial = trials[event["trial"]]
            trial.running = False
            trial.seconds += event["seconds"]
            trial.broke_off.append(BrokeOff(event["attempt"], event["reason"], event["says"], event["counts"]))
        case "ended":
            trial = trials[event["trial"]]
            trial.running, trial.status, trial.curve = False, event["status"], event["curve"]
            trial.seconds += event["seconds"]
            trial.seeds = [SeedResult(**seed) for seed in event["seeds"]]
            trial.says = event["says"]


def time_spent(events: Iterable[Event]) -> float:
    """Seconds that the sweep was under way, by the times of what was written down."""
    total, since, last = 0.0, None, None
    for event in events:
        if "time" not in event:
            continue
        if event["event"] == "opened":
            if since is not None and last is not None:
                total += last - since
            since = event["time"]
        last = event["time"]
    return total + (last - since if since is not None and last is not None else 0.0)


def chosen_event(trial: Trial) -> dict[str, Any]:
    """The line that says what a trial sets, and by what it will be stopped."""
    bar = None if trial.bar is None else vars(trial.bar)
    parent = None if trial.parent is None else trial.parent.number
    about = {"event": "chosen", "trial": trial.number, "parent": parent, "begins": trial.begins}
    return {**about, "values": trial.values, "rungs": trial.rungs, "bar": bar}
