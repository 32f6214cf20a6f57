"""Choices: a function of number, seed and the trials known, and of nothing else; guided searches find what is good."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from sweep_tools import NAME, SPACE, curve_of, simulate, sweep_of

from mmkd.sweep.choose import choose, horizon
from mmkd.sweep.trials import FAILED, FINISHED, STOPPED, SeedResult, Trial

KINDS = ["random", "optuna", "hyperopt"]


def ended(number: int, values: dict, score: float, status: str = FINISHED) -> Trial:
    seeds = [] if status == FAILED else [SeedResult(0, {NAME: score}, "r", 3, 1.0)]
    return Trial(number, values, {}, None, status=status, seeds=seeds, curve=[score] if seeds else [])


@pytest.mark.parametrize("kind", KINDS)
def test_every_value_is_in_its_domain_and_conditions_hold(kind: str):
    sweep = sweep_of(search={"kind": kind})
    known: list[Trial] = []
    for number in range(30):
        values = choose(sweep, number, known)
        assert values is not None
        assert 1e-4 <= values["train.lr"] <= 1e-1
        assert isinstance(values["train.batch_size"], int) and 8 <= values["train.batch_size"] <= 64
        assert ("weighting.bound" in values) == (values["weighting.kind"] == "uncertainty")
        assert 0.5 <= values.get("weighting.bound", 1.0) <= 2.0
        status = [FINISHED, STOPPED, FAILED][number % 3]
        known.append(ended(number, values, max(curve_of(values)), status))
    assert {trial.values["weighting.kind"] for trial in known} == {"fixed", "uncertainty"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_question_has_the_same_answer_and_other_numbers_and_seeds_have_others(kind: str):
    sweep = sweep_of(search={"kind": kind})
    known = [ended(n, choose(sweep, n, []), n / 10) for n in range(12)]
    assert choose(sweep, 20, known) == choose(sweep, 20, known)
    assert choose(sweep, 20, known) != choose(sweep, 21, known)
    assert choose(sweep, 20, known) != choose(sweep_of(search={"kind": kind, "seed": 1}), 20, known)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_guided_search_depends_on_what_is_known_and_comes_to_better_values(kind: str, tmp_path: Path):
    guided = sweep_of(search={"kind": kind, "startup": 10, "ahead": 1}, trials=60)
    trials = simulate(guided, tmp_path / "guided.jsonl", at_once=1)
    later = [max(trials[n].curve) for n in range(30, 60)]
    blind = sweep_of(search={"kind": "random"})
    random = [max(curve_of(choose(blind, number, []))) for number in range(200)]
    assert statistics.fmean(later) > statistics.fmean(random) + 0.05
    worse = [ended(n, t.values, -max(t.curve)) for n, t in trials.items() if n < 30]
    better = [ended(n, t.values, max(t.curve)) for n, t in trials.items() if n < 30]
    assert choose(guided, 30, better) != choose(guided, 30, worse)


def test_several_objectives_are_searched_together():
    sweep = sweep_of(objective={"minimize": ["parameters"]})
    assert sweep.objective.names == (NAME, "parameters")
    known = []
    for number in range(15):
        values = choose(sweep, number, known)
        trial = ended(number, values, max(curve_of(values)))
        trial.seeds[0].objectives["parameters"] = float(values["train.batch_size"])
        known.append(trial)
    flipped = [ended(t.number, t.values, t.objectives[NAME]) for t in known]
    for trial, other in zip(flipped, known, strict=True):
        trial.seeds[0].objectives["parameters"] = -other.objectives["parameters"]
    assert choose(sweep, 20, known) != choose(sweep, 20, flipped)


def test_choices_may_be_lists_and_maps():
    space = {"a": {"choice": [[1, 2], {"kind": "x"}, None]}}
    for kind in KINDS:
        found = [choose(sweep_of(space=space, search={"kind": kind}), n, [])["a"] for n in range(20)]
        assert all(each in [[1, 2], {"kind": "x"}, None] for each in found)
        assert len({repr(each) for each in found}) == 3


def test_a_grid_ends():
    sweep = sweep_of(search={"kind": "grid"}, trials=None, space={"a": {"choice": [1, 2]}})
    assert [choose(sweep, number, []) for number in range(3)] == [{"a": 1}, {"a": 2}, None]


def test_how_far_a_trial_looks_back():
    optuna = sweep_of(search={"kind": "optuna", "ahead": 4})
    assert [horizon(optuna, number) for number in (0, 3, 4, 10)] == [0, 0, 1, 7]
    assert horizon(sweep_of(search={"kind": "random"}), 100) == 0
    assert horizon(sweep_of(search={"kind": "random"}, stop_early={"kind": "asha"}), 100) == 93
    assert horizon(sweep_of(search={"kind": "random"}, seeds=[0, 1]), 100) == 93
    assert horizon(sweep_of(search={"kind": "random"}, seeds=[0, 1], give_up=None), 100) == 0


def test_without_hyperopt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    import importlib

    from mmkd.errors import MmkdError
    from mmkd.sweep.choose import require_hyperopt

    def gone(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", gone)
    with pytest.raises(MmkdError, match=r"mmkd\[hyperopt\]"):
        require_hyperopt()


def test_the_space_of_these_tests_has_every_sort_of_domain():
    assert {key for domain in SPACE.values() for key in domain} >= {
        "log_uniform",
        "choice",
        "uniform",
        "integer",
        "when",
    }
