"""The course of a sweep: what is to be done next, and what was done, each step in the journal. No Ray here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from mmkd.config.problems import ConfigError
from mmkd.config.sweep_file import Pbt, Sweep
from mmkd.sweep.choose import all_known, choose, horizon
from mmkd.sweep.journal import Event, Journal
from mmkd.sweep.order import Order, Outcome
from mmkd.sweep.population import end_of, member
from mmkd.sweep.rules import bar_of, rungs
from mmkd.sweep.trials import (
    FAILED,
    HANGING,
    LOST,
    OUT_OF_MEMORY,
    UNFIT,
    Trial,
    chosen_event,
    take_in,
    time_spent,
    trials_of,
)

Clock = Callable[[], float]


class Next(Enum):
    """What there is to do when no attempt is to begin now."""

    WAIT = "others have to end first"
    END = "the sweep has ended"


@dataclass(frozen=True)
class Fixed:
    """What every trial of a sweep has in common.

    target: the experiment file. folder: of the sweep. epochs: at most. code: hash of mmkd's own code.
    cache, entries: as in `Order`.
    """

    target: Path
    folder: Path
    overrides: tuple[str, ...]
    epochs: int
    code: str
    cache: Path
    entries: tuple[str, ...]


class Course:
    """Decides and remembers. The journal is the truth: a course made from it goes on as if it had never ended."""

    def __init__(
        self,
        sweep: Sweep,
        fixed: Fixed,
        journal: Journal,
        refused: Callable[[Trial], str | None] = lambda trial: None,
        clock: Clock = time.time,
    ) -> None:
        """journal: begun. refused: why a trial's values are no experiment, or None. clock: seconds since 1970."""
        self.sweep, self._fixed, self._journal, self._clock, self._refused = sweep, fixed, journal, clock, refused
        self.trials = trials_of(journal.events)
        self.stopping = False
        """No attempt begins any more."""
        self.unfit: str | None = None
        """Why no trial can be run, if none can."""
        self._spent = time_spent(journal.events)
        self._gpu_spent = sum(event.get("seconds", 0.0) for event in journal.events) * sweep.per_trial.gpus
        for trial in self.trials.values():
            if trial.running:  # of the process before this one
                self._break_off(trial, LOST, "the process that led the sweep ended", 0.0, counts=False)
        self._write({"event": "opened", "time": clock()})
        self._opened = clock()

    def next(self) -> Order | Next:
        """The next attempt, once it is in the journal; or what to do instead."""
        running = any(trial.running for trial in self.trials.values())
        idle = Next.WAIT if running else Next.END
        if self.stopping:
            return idle
        for trial in self.trials.values():
            if trial.status is None and not trial.running:
                return self._begin(trial)
        number = len(self.trials)
        if self._is_spent(number):
            return idle
        known = all_known(self.trials, horizon(self.sweep, number))
        if known is None:
            return Next.WAIT
        chosen = self._choose(number, known)
        if chosen is None:
            return idle
        self._write(chosen_event(chosen))
        trial = self.trials[number]
        if (why := self._refused(trial)) is not None:
            self._end(trial, FAILED, Outcome(attempt=0, reason=None, status=FAILED, seeds=[], curve=[], says=why), 0.0)
            return self.next()
        return self._begin(trial)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to do."""
        if any(trial.status is None for trial in self.trials.values()):
            return False
        number = len(self.trials)
        known = [self.trials[before] for before in range(horizon(self.sweep, number))]
        return self._is_spent(number) or self._choose(number, known) is None

    def broke_off(self, number: int, reason: str, says: str, seconds: float) -> None:
        """An attempt ended without a result. reason: as in `trials`. seconds: that it took."""
        trial = self.trials[number]
        self._break_off(trial, reason, says, seconds, counts=True)
        allowed = {
            LOST: self.sweep.retry.lost,
            OUT_OF_MEMORY: self.sweep.retry.out_of_memory,
            HANGING: self.sweep.retry.hanging,
            FAILED: self.sweep.retry.failed,
        }
        if reason == UNFIT:
            self.stopping, self.unfit = True, says
        times = sum(each.reason == reason and each.counts for each in trial.broke_off)
        if reason in allowed and times > allowed[reason]:
            last = Outcome(attempt=trial.attempts, reason=None, status=FAILED, seeds=[], curve=[], says=says)
            self._end(trial, FAILED, last, 0.0)

    def ended(self, number: int, outcome: Outcome, seconds: float) -> None:
        """An attempt ended with a result."""
        assert outcome.status is not None
        self._end(self.trials[number], outcome.status, outcome, seconds)

    def close(self) -> None:
        """The process that leads the sweep ends."""
        self._write({"event": "closed", "time": self._clock()})

    @property
    def epochs(self) -> int:
        """Of a whole trial."""
        return self._fixed.epochs

    def _is_spent(self, trials: int) -> bool:
        budget, hours = self.sweep, (self._spent + self._clock() - self._opened) / 3600
        return (
            (budget.trials is not None and trials >= budget.trials)
            or (budget.hours is not None and hours >= budget.hours)
            or (budget.gpu_hours is not None and self._gpu_spent / 3600 >= budget.gpu_hours)
        )

    def _choose(self, number: int, known: list[Trial]) -> Trial | None:
        name = self.sweep.objective.names[0]
        if isinstance(self.sweep.search, Pbt):
            return member(self.sweep.search, self.sweep.space, name, number, known, self._fixed.epochs)
        values = choose(self.sweep, number, known)
        if values is None:
            return None
        limits = rungs(self.sweep.stop_early, known, self._fixed.epochs, number)
        return Trial(number, values, limits, bar_of(known, name) if len(self.sweep.seeds) > 1 else None)

    def _begin(self, trial: Trial) -> Order:
        started = {"event": "started", "trial": trial.number, "attempt": trial.attempts + 1, "time": self._clock()}
        self._write(started)
        return Order(
            number=trial.number,
            attempt=trial.attempts,
            overrides=[*self._fixed.overrides, *trial.overrides],
            target=str(self._fixed.target),
            folder=str(self._fixed.folder),
            seeds=list(self.sweep.seeds),
            objectives=list(self.sweep.objective.names),
            rungs=trial.rungs,
            bar=None if trial.bar is None else vars(trial.bar),
            give_up=self.sweep.give_up,
            cpus=self.sweep.per_trial.cpus,
            gpus=self.sweep.per_trial.gpus,
            processes=self.sweep.per_trial.together,
            code=self._fixed.code,
            node_cache=self.sweep.node_cache,
            cache=str(self._fixed.cache),
            entries=list(self._fixed.entries),
            parent=None if trial.parent is None else trial.parent.number,
            until=end_of(self.sweep.search, trial, self._fixed.epochs) if isinstance(self.sweep.search, Pbt) else None,
        )

    def _break_off(self, trial: Trial, reason: str, says: str, seconds: float, counts: bool) -> None:
        attempt = {"event": "broke off", "trial": trial.number, "attempt": trial.attempts, "time": self._clock()}
        self._write({**attempt, "reason": reason, "says": says, "seconds": seconds, "counts": counts})

    def _end(self, trial: Trial, status: str, outcome: Outcome, seconds: float) -> None:
        about = {"event": "ended", "trial": trial.number, "attempt": outcome.attempt, "time": self._clock()}
        result = {"status": status, "seeds": outcome.seeds, "curve": outcome.curve, "says": outcome.says}
        self._write({**about, **result, "seconds": seconds})

    def _write(self, event: Event) -> None:
        written = self._journal.write(event)
        take_in(self.trials, written)
        self._gpu_spent += written.get("seconds", 0.0) * self.sweep.per_trial.gpus


def refusal(load: Callable[[list[str]], object], fixed: Fixed) -> Callable[[Trial], str | None]:
    """Says why a trial's values are no experiment. load: reads the experiment file with overrides."""

    def why(trial: Trial) -> str | None:
        try:
            load([*fixed.overrides, *trial.overrides])
        except ConfigError as error:
            return str(error)
        return None

    return why
