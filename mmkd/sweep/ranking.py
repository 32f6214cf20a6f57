"""Which trials are best: by the mean over seeds, or those that none surpasses in all objectives. No torch here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mmkd.config.sweep_file import Objective
from mmkd.report.statistics import Summary, summary
from mmkd.sweep.trials import FINISHED, Trial


def finished(trials: Iterable[Trial]) -> list[Trial]:
    """Those that may win: with all epochs of all seeds."""
    return [trial for trial in trials if trial.status == FINISHED]


def gains(trial: Trial, objective: Objective) -> tuple[float, ...]:
    """Its objectives, turned so that more is better."""
    found = trial.objectives
    return tuple(found[name] if name in objective.maximize else -found[name] for name in objective.names)


def ranked(trials: Iterable[Trial], objective: Objective) -> list[Trial]:
    """All trials: finished ones first, the best by the first objective first; the earlier of equals."""
    name = objective.names[0]

    def key(trial: Trial) -> tuple[bool, bool, float, int]:
        found = trial.objectives
        return trial.status != FINISHED, not found, -found.get(name, 0.0), trial.number

    return sorted(trials, key=key)


def winner_of(trials: Iterable[Trial], objective: Objective) -> Trial | None:
    """The finished trial with the best first objective; None when none has finished."""
    return next(iter(ranked(finished(trials), objective)), None)


def pareto(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """The finished trials that no other surpasses: as good in all objectives, and better in one. In order of number."""
    own = {trial.number: gains(trial, objective) for trial in finished(trials)}

    def surpassed(mine: tuple[float, ...]) -> bool:
        return any(all(a >= b for a, b in zip(other, mine, strict=True)) and other != mine for other in own.values())

    return [trial for trial in trials if trial.number in own and not surpassed(own[trial.number])]


def spread(trial: Trial, name: str) -> Summary:
    """An objective over the trial's seeds: mean, sample standard deviation, 95% t-interval."""
    return summary([seed.objectives[name] for seed in trial.seeds])
