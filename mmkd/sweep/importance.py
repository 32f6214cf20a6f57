"""How much each key of a sweep mattered: PED-ANOVA (2304.10255), Optuna's own. No torch and no Ray here.

The share of the objective's variance among the best trials that a key explains by itself. Interactions, and keys that
are varied only under a condition, are left out; a search that learns tries few values where it found bad ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from mmkd.config.sweep_file import Sweep
from mmkd.sweep.choose import study_of
from mmkd.sweep.ranking import finished
from mmkd.sweep.trials import Trial

FEWEST = 20
"""Finished trials below which nothing is said."""
MEANS = (
    "Importance is the share of the variance of {name} among the best trials that a key explains by itself "
    "(PED-ANOVA, 2304.10255). It leaves out interactions, and keys that are varied only under a condition. It says "
    "little where the search tried few values of a key, as one that learns does, and nothing beyond the bounds."
)


def says(trials: Sequence[Trial], sweep: Sweep) -> str:
    """What the importances of these trials mean, or why there are none."""
    name, known = sweep.objective.names[0], finished(trials)
    if len(known) < FEWEST:
        return f"Importance is not shown for {len(known)} finished trials, below {FEWEST}: it would be chance."
    if not importances(trials, sweep):
        return f"Importance is not shown: all finished trials have the same {name}, or all keys have a condition."
    return MEANS.format(name=name)


def importances(trials: Sequence[Trial], sweep: Sweep) -> dict[str, float]:
    """Key -> its share, largest first; empty for too few trials, or where all scores are equal."""
    known, keys = finished(trials), [key for key, domain in sweep.space.items() if not domain.when]
    name = sweep.objective.names[0]
    if len(known) < FEWEST or not keys or len({trial.objectives[name] for trial in known}) < 2:
        return {}
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = study_of(sweep, known, (name,), sampler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the evaluator is new
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=keys)
    return dict(sorted(found.items(), key=lambda item: -item[1]))
