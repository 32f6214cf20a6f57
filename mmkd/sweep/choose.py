"""What the next trial sets: a pure function of its number, of the search's seed and of the trials known to it.

Nothing is carried from one choice to the next, so there is no state that could be lost.
"""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from mmkd.config.sweep_file import Domain, HyperOpt, Optuna, Pbt, Random, Sweep
from mmkd.errors import MmkdError
from mmkd.sweep.space import Values, combinations, drawn, holds
from mmkd.sweep.trials import FAILED, FINISHED, Trial

optuna.logging.set_verbosity(optuna.logging.WARNING)


def learns(sweep: Sweep) -> bool:
    """Whether a trial depends on others, by its values or by when it ends."""
    gives_up = len(sweep.seeds) > 1 and sweep.give_up is not None
    return isinstance(sweep.search, Optuna | HyperOpt | Pbt) or sweep.stop_early is not None or gives_up


def horizon(sweep: Sweep, number: int) -> int:
    """How many trials, the first of all, the trial of this number depends on."""
    if isinstance(sweep.search, Pbt):
        return number - number % sweep.search.population
    return max(0, number - ahead_of(sweep) + 1) if learns(sweep) else 0


def ahead_of(sweep: Sweep) -> int:
    """How many trials may be under way at the same time, where a trial depends on others."""
    search = sweep.search
    if isinstance(search, Pbt):
        return search.population
    return search.ahead if isinstance(search, Optuna | HyperOpt) else Optuna().ahead


def choose(sweep: Sweep, number: int, known: Sequence[Trial]) -> Values | None:
    """What trial `number` sets; None when a grid has no more. known: the trials that it depends on, all ended.

    Members of a population: see `population`.
    """
    search = sweep.search
    if isinstance(search, Optuna):
        return _optuna(sweep, search, number, known)
    if isinstance(search, HyperOpt):
        return _hyperopt(sweep, search, number, known)
    if isinstance(search, Random):
        return drawn(sweep.space, np.random.default_rng([search.seed, number]))
    return next(itertools.islice(combinations(sweep.space), number, None), None)


def _seed(search: Optuna | HyperOpt, number: int) -> int:
    return int(np.random.SeedSequence([search.seed, number]).generate_state(1)[0])


def _optuna(sweep: Sweep, search: Optuna, number: int, known: Sequence[Trial]) -> Values:
    sampler = optuna.samplers.TPESampler(seed=_seed(search, number), n_startup_trials=search.startup)
    asked = study_of(sweep, known, sweep.objective.names, sampler).ask()
    values: Values = {}
    for key, domain in sweep.space.items():
        if holds(domain, values):
            values[key] = _ask(asked, key, domain)
    return values


def study_of(
    sweep: Sweep, known: Sequence[Trial], names: Sequence[str], sampler: optuna.samplers.BaseSampler
) -> optuna.Study:
    """Trials as Optuna has them. names: of the objectives that it is told."""
    more, less = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE
    directions = [more if name in sweep.objective.maximize else less for name in names]
    study = optuna.create_study(directions=directions, sampler=sampler)
    for trial in known:
        study.add_trial(_told(sweep, trial, names))
    return study


def _ask(asked: optuna.Trial, key: str, domain: Domain) -> Any:
    if domain.choice is not None:
        return domain.choice[asked.suggest_categorical(key, range(len(domain.choice)))]
    if domain.integer is not None:
        return asked.suggest_int(key, *domain.integer)
    if domain.uniform is not None:
        return asked.suggest_float(key, *domain.uniform)
    assert domain.log_uniform is not None  # checked by the sweep file
    return asked.suggest_float(key, *domain.log_uniform, log=True)


def _told(sweep: Sweep, trial: Trial, names: Sequence[str]) -> optuna.trial.FrozenTrial:
    """A trial as Optuna takes it: one that was stopped early counts by its best score so far, below those that ended.

    Optuna knows that state for one objective alone; early stopping has one.
    """
    spaces = {key: _distribution(sweep.space[key]) for key in trial.values}
    params = {k: v if (c := sweep.space[k].choice) is None else c.index(v) for k, v in trial.values.items()}
    if trial.status == FAILED:
        return create_trial(state=TrialState.FAIL, params=params, distributions=spaces)
    values = [trial.objectives[name] for name in names]
    if trial.status == FINISHED or len(names) > 1 or not trial.curve:
        return create_trial(params=params, distributions=spaces, values=values)
    reached = {len(trial.curve): values[0]}
    return create_trial(state=TrialState.PRUNED, params=params, distributions=spaces, intermediate_values=reached)


def _distribution(domain: Domain) -> BaseDistribution:
    """Choices are told by their position: they may be lists or maps."""
    if domain.choice is not None:
        return CategoricalDistribution(range(len(domain.choice)))
    if domain.integer is not None:
        return IntDistribution(*domain.integer)
    if domain.uniform is not None:
        return FloatDistribution(*domain.uniform)
    assert domain.log_uniform is not None  # checked by the sweep file
    return FloatDistribution(*domain.log_uniform, log=True)


def _hyperopt(sweep: Sweep, search: HyperOpt, number: int, known: Sequence[Trial]) -> Values:
    hyperopt = require_hyperopt()
    name = sweep.objective.names[0]
    found = hyperopt.Trials()
    for trial in known:
        at = {key: _to_hyperopt(sweep.space[key], value) for key, value in trial.values.items()}
        has = {key: [at[key]] if key in at else [] for key in sweep.space}
        tids = {key: [trial.number] if key in at else [] for key in sweep.space}
        misc = {"tid": trial.number, "cmd": ("domain_attachment", "FMinIter_Domain"), "idxs": tids, "vals": has}
        good = trial.status != FAILED
        result = {"status": "ok", "loss": -trial.objectives[name]} if good else {"status": "fail"}
        found.insert_trial_docs(found.new_trial_docs([trial.number], [None], [result], [misc]))
    found.refresh()
    space = {key: _hyperopt_domain(hyperopt, key, domain) for key, domain in sweep.space.items()}
    domain = hyperopt.Domain(lambda values: 0.0, space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tpe = importlib.import_module("hyperopt.tpe")
        (new,) = tpe.suggest(
            [number], domain, found, _seed(search, number), n_startup_jobs=search.startup, verbose=False
        )
    drawn = {key: values[0] for key, values in new["misc"]["vals"].items() if len(values)}
    values: Values = {}
    for key, own in sweep.space.items():
        if holds(own, values):
            values[key] = _from_hyperopt(own, drawn[key])
    return values


def require_hyperopt() -> Any:
    """The package. Raises MmkdError where it is not installed."""
    try:
        return importlib.import_module("hyperopt")
    except ImportError as error:
        raise MmkdError(
            "search.kind: hyperopt needs the package hyperopt, which is not installed; pip install 'mmkd[hyperopt]', "
            "or take `kind: optuna`"
        ) from error


def _hyperopt_domain(hyperopt: Any, key: str, domain: Domain) -> Any:
    hp = hyperopt.hp
    if domain.choice is not None:
        return hp.choice(key, list(range(len(domain.choice))))
    if domain.integer is not None:
        return hp.uniformint(key, *domain.integer)
    if domain.uniform is not None:
        return hp.uniform(key, *domain.uniform)
    assert domain.log_uniform is not None
    return hp.loguniform(key, *np.log(domain.log_uniform))


def _to_hyperopt(domain: Domain, value: Any) -> Any:
    return value if domain.choice is None else domain.choice.index(value)


def _from_hyperopt(domain: Domain, value: Any) -> Any:
    if domain.choice is not None:
        return domain.choice[int(value)]
    if domain.integer is not None:
        return int(value)
    bounds = domain.uniform or domain.log_uniform
    assert bounds is not None
    return min(max(float(value), bounds[0]), bounds[1])


def all_known(trials: Mapping[int, Trial], count: int) -> list[Trial] | None:
    """The first `count` trials when all of them have ended, else None."""
    found = [trials[number] for number in range(count) if number in trials and trials[number].status is not None]
    return found if len(found) == count else None
