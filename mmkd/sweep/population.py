"""Population based training (Jaderberg et al. 2017, 1711.09846): what a member sets, and whose state it takes over.

Trial number = generation x population + member. As elsewhere in a sweep, a trial is a pure function of its number, of
the search's seed and of the trials known to it, those of the generation before. Exploit is the paper's truncation
selection: who is among the worst takes over a member drawn from the best. Explore multiplies a value by `factor` or
divides by it, where the paper multiplies by 1.2 or 0.8, or draws it anew. The state goes with the values, and a trial's
overrides tell its whole lineage: so they give the same weights from the first epoch on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mmkd.config.sweep_file import Domain, Pbt
from mmkd.sweep.space import Space, Values, drawn, from_share
from mmkd.sweep.trials import FAILED, Trial


def member(search: Pbt, space: Space, name: str, number: int, known: Sequence[Trial], epochs: int) -> Trial | None:
    """Trial `number`; None when the run's epochs are over, or when all members have failed.

    name: of the score. known: all trials of the generations before, all ended. epochs: of the experiment.
    """
    generation, place = divmod(number, search.population)
    begins = generation * search.every
    if begins >= epochs:
        return None
    draws = np.random.default_rng([search.seed, number])
    if generation == 0:
        return Trial(number, drawn(space, draws), {}, None)
    before = known[-search.population :]
    alive = sorted((t for t in before if t.status != FAILED), key=lambda t: (-t.objectives[name], t.number))
    if not alive:
        return None
    share = max(1, int(search.keep * search.population))
    own = before[place]
    if own.number in {trial.number for trial in alive[: search.population - share]}:
        return Trial(number, own.values, {}, None, own, begins)
    best = alive[:share]
    parent = best[int(draws.integers(len(best)))]
    return Trial(number, explored(search, space, parent.values, draws), {}, None, parent, begins)


def explored(search: Pbt, space: Space, values: Values, draws: np.random.Generator) -> Values:
    """New values near these, some of them drawn anew."""
    found: Values = {}
    for key, domain in space.items():
        again, share, up = draws.random(3)  # all of them in any case, so that keys do not depend on one another
        if again < search.resample:
            found[key] = from_share(domain, share)
        else:
            found[key] = neighbour(domain, values[key], search.factor, up < 0.5)
    return found


def neighbour(domain: Domain, value: Any, factor: float, up: bool) -> Any:
    """The value above or below this one, within the domain: times or by the factor, or the next of the choices."""
    if domain.choice is not None:
        place = domain.choice.index(value) + (1 if up else -1)
        return domain.choice[min(max(place, 0), len(domain.choice) - 1)]
    moved = value * factor if up else value / factor
    if domain.integer is not None:
        step = max(value + 1, round(moved)) if up else min(value - 1, round(moved))
        return min(max(step, domain.integer[0]), domain.integer[1])
    bounds = domain.uniform or domain.log_uniform
    assert bounds is not None  # checked by the sweep file
    return min(max(moved, bounds[0]), bounds[1])


def end_of(search: Pbt, trial: Trial, epochs: int) -> int | None:
    """Epochs after which the trial leaves off; None for one of the last generation."""
    end = trial.begins + search.every
    return end if end < epochs else None


def no_longer_needed(search: Pbt, trials: Mapping[int, Trial]) -> list[int]:
    """Trials with whose state no other will begin: all of the next generation have ended."""

    def over(generation: int) -> bool:
        first = generation * search.population
        numbers = range(first, first + search.population)
        return all(number in trials and trials[number].status is not None for number in numbers)

    return [number for number in trials if over(number // search.population + 1)]
