"""When a trial is stopped early, and when it gets no further seed: pure functions of the trials that are known to it.

What a trial has to reach is settled before it begins, from trials that have ended. So whether it is stopped does not
depend on which of the others happen to be further at that moment.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from mmkd.config.sweep_file import Asha, HyperBand, Median
from mmkd.sweep.trials import Bar, Trial


def rungs(rule: Asha | HyperBand | Median | None, known: Sequence[Trial], epochs: int, number: int) -> dict[int, float]:
    """Epoch, counted from 1 -> what the best score so far must reach there for the trial to go on.

    known: trials that have ended, stopped ones too. epochs: of a whole trial. number: of this one, from 0.
    """
    if rule is None:
        return {}
    if isinstance(rule, Median):
        found = {}
        for epoch in range(rule.grace_epochs, epochs):
            others = [trial.curve[epoch - 1] for trial in known if len(trial.curve) >= epoch]
            if len(others) >= rule.fewest:
                found[epoch] = statistics.median(others)
        return found
    places = rung_epochs(rule.grace_epochs, rule.reduction, epochs)
    if isinstance(rule, HyperBand):
        places = places[number % (len(places) + 1) :]
    found = {}
    for epoch in places:
        others = sorted((trial.curve[epoch - 1] for trial in known if len(trial.curve) >= epoch), reverse=True)
        goes_on = math.ceil((len(others) + 1) / rule.reduction)  # of all that came so far, this trial among them
        if len(others) >= goes_on:
            found[epoch] = others[goes_on - 1]
    return found


def rung_epochs(grace: int, reduction: int, epochs: int) -> list[int]:
    """Epochs, counted from 1, after which trials are compared; none after the last."""
    found = []
    while grace < epochs:
        found.append(grace)
        grace *= reduction
    return found


def stopped_at(curve: Sequence[float], rungs: dict[int, float]) -> int | None:
    """The epoch, counted from 1, at which a trial with these best scores so far stops; None when it goes on."""
    return next((epoch for epoch in sorted(rungs) if epoch <= len(curve) and curve[epoch - 1] < rungs[epoch]), None)


def bar_of(known: Sequence[Trial], name: str) -> Bar | None:
    """What a trial's mean of the objective `name` is held against; None where no known trial has several seeds."""
    groups = [[seed.objectives[name] for seed in trial.seeds] for trial in known if len(trial.seeds) > 1]
    if not groups:
        return None
    squares = sum(statistics.variance(group) * (len(group) - 1) for group in groups)
    most = max(map(len, groups))
    best = max(statistics.fmean(group) for group in groups if len(group) == most)
    return Bar(best, most, math.sqrt(squares / sum(len(group) - 1 for group in groups)))


def hopeless(values: Sequence[float], bar: Bar | None, give_up: float | None) -> bool:
    """Whether a trial with these values of its first seeds is further below the bar than `give_up` standard errors."""
    if bar is None or give_up is None or not values:
        return False
    error = bar.std * math.sqrt(1 / len(values) + 1 / bar.seeds)
    return statistics.fmean(values) < bar.best - give_up * error
