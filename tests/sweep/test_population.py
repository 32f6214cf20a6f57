"""Population based training: who goes on, who takes over from whom, and how values move; pure functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sweep_tools import NAME, POPULATION, sweep_of

from mmkd.config.sweep_file import Domain, Pbt, Sweep
from mmkd.sweep.population import end_of, explored, member, neighbour, no_longer_needed
from mmkd.sweep.trials import FAILED, WENT_ON, SeedResult, Trial, chosen_event, trials_of

EPOCHS = 12


def population(**search: Any) -> tuple[Sweep, Pbt]:
    plain = {"kind": "pbt", "population": 8, "every": 3, "keep": 0.25, "resample": 0.0} | search
    sweep = sweep_of(**POPULATION | {"search": plain})
    assert isinstance(sweep.search, Pbt)
    return sweep, sweep.search


def ended(trial: Trial, score: float | None) -> Trial:
    trial.status = FAILED if score is None else WENT_ON
    trial.seeds = [] if score is None else [SeedResult(0, {NAME: score}, "r", 3, 1.0)]
    return trial


def generation(sweep: Sweep, before: list[Trial], scores: list[float | None]) -> list[Trial]:
    """One more generation, with these scores, after those before it."""
    search = sweep.search
    assert isinstance(search, Pbt)
    found = []
    for score in scores:
        own = member(search, sweep.space, NAME, len(before) + len(found), before, EPOCHS)
        assert own is not None
        found.append(ended(own, score))
    return found


def test_the_worst_take_over_from_the_best_and_the_others_go_on():
    sweep, _ = population()
    scores = [0.5, 0.9, 0.1, 0.6, 0.8, 0.2, 0.7, 0.3]
    first = generation(sweep, [], list(scores))
    assert all(trial.parent is None and trial.begins == 0 for trial in first)
    second = generation(sweep, first, list(scores))
    for own, trial in zip(first, second, strict=True):
        assert trial.begins == 3 and trial.parent is not None
        if own.number in (2, 5):
            assert trial.parent.number in (1, 4)
            assert trial.values != trial.parent.values
        else:
            assert trial.parent is own and trial.values == own.values and trial.overrides == own.overrides


def test_over_many_seeds_each_of_the_best_is_taken_over_from():
    parents = set()
    for seed in range(40):
        sweep, _ = population(seed=seed)
        first = generation(sweep, [], [0.5, 0.9, 0.1, 0.6, 0.8, 0.2, 0.7, 0.3])
        parents |= {trial.parent.number for trial in generation(sweep, first, [0.0] * 8) if trial.number in (10, 13)}
    assert parents == {1, 4}


def test_of_equals_the_earlier_ones_are_the_best():
    sweep, _ = population()
    first = generation(sweep, [], [0.5] * 8)
    parents = [trial.parent.number for trial in generation(sweep, first, [0.5] * 8)]
    assert parents[:6] == [0, 1, 2, 3, 4, 5] and set(parents[6:]) <= {0, 1}


@pytest.mark.parametrize(("keep", "replaced"), [(0.01, 1), (0.25, 2), (0.3, 2), (0.5, 4)])
def test_the_share_is_of_the_population_and_one_member_at_least(keep: float, replaced: int):
    sweep, _ = population(keep=keep)
    first = generation(sweep, [], [0.1 * place for place in range(8)])
    second = generation(sweep, first, [0.0] * 8)
    assert [trial.parent is first[place] for place, trial in enumerate(second)] == [False] * replaced + [True] * (
        8 - replaced
    )


def test_who_failed_is_replaced_even_where_more_failed_than_the_share():
    sweep, search = population()
    first = generation(sweep, [], [None, 0.9, None, None, 0.8, None, 0.7, 0.3])
    parents = [trial.parent.number for trial in generation(sweep, first, [0.0] * 8)]
    assert [parents[place] for place in (1, 4, 6, 7)] == [1, 4, 6, 7]
    assert {parents[place] for place in (0, 2, 3, 5)} <= {1, 4}
    lone = generation(sweep, [], [None] * 7 + [0.1])
    assert {trial.parent.number for trial in generation(sweep, lone, [0.0] * 8)} == {7}
    none = generation(sweep, [], [None] * 8)
    assert member(search, sweep.space, NAME, 8, none, EPOCHS) is None


def test_a_trial_is_a_function_of_its_number_and_the_generation_before_alone():
    sweep, search = population()
    scores: list[float | None] = [0.5, 0.9, 0.1, 0.6, 0.8, 0.2, 0.7, 0.3]
    first = generation(sweep, [], scores)
    second = generation(sweep, first, scores)
    for number in (18, 21):  # the worst of the second generation
        one = member(search, sweep.space, NAME, number, [*first, *second], EPOCHS)
        for trial in first:
            trial.seeds = [SeedResult(0, {NAME: 0.123}, "r", 3, 1.0)]
        again = member(search, sweep.space, NAME, number, [*first, *second], EPOCHS)
        assert one is not None and again is not None
        assert (one.values, one.parent, one.begins) == (again.values, again.parent, again.begins)
    other = member(search.model_copy(update={"seed": 1}), sweep.space, NAME, 18, [*first, *second], EPOCHS)
    assert other is not None and other.values != member(search, sweep.space, NAME, 18, [*first, *second], EPOCHS).values


def test_after_the_last_epoch_there_is_no_generation():
    sweep, search = population()
    known: list[Trial] = []
    for number in range(4):
        assert len(known) == 8 * number
        known += generation(sweep, known, [0.5] * 8)
        assert {end_of(search, trial, EPOCHS) for trial in known[-8:]} == {3 * (number + 1) if number < 3 else None}
    assert member(search, sweep.space, NAME, 32, known, EPOCHS) is None


def test_overrides_tell_the_lineage_and_nothing_where_nothing_changes():
    root = Trial(0, {"a": 1, "b": 2.0}, {}, None)
    same = Trial(8, {"a": 1, "b": 2.0}, {}, None, root, 3)
    moved = Trial(16, {"a": 1, "b": 2.4}, {}, None, same, 6)
    again = Trial(24, {"a": 2, "b": 2.0}, {}, None, moved, 9)
    assert same.overrides == root.overrides == ["a=1", "b=2.0"]
    assert moved.overrides == ["a=1", "b=2.0", 'changes.epoch6={"epoch": 6, "set": {"b": 2.4}}']
    assert again.overrides == [*moved.overrides, 'changes.epoch9={"epoch": 9, "set": {"a": 2, "b": 2.0}}']
    events = [chosen_event(trial) for trial in (root, same, moved, again)]
    assert trials_of(events)[24].overrides == again.overrides


DOMAINS = {
    "uniform": {"uniform": [0.1, 2.0]},
    "below zero": {"uniform": [-2.0, 1.0]},
    "log_uniform": {"log_uniform": [1e-4, 1e-1]},
    "integer": {"integer": [1, 9]},
    "choice": {"choice": ["a", "b", "c"]},
}


def test_a_number_is_multiplied_or_divided_and_stays_in_its_domain():
    number = Domain.model_validate(DOMAINS["uniform"])
    assert neighbour(number, 1.0, 1.25, True) == 1.25 and neighbour(number, 1.0, 1.25, False) == 0.8
    assert neighbour(number, 1.9, 1.25, True) == 2.0 and neighbour(number, 0.11, 1.25, False) == 0.1


def test_an_integer_moves_by_one_at_least_and_a_choice_to_the_next():
    whole, choice = Domain.model_validate(DOMAINS["integer"]), Domain.model_validate(DOMAINS["choice"])
    assert [neighbour(whole, value, 1.2, True) for value in (1, 5, 8, 9)] == [2, 6, 9, 9]
    assert [neighbour(whole, value, 1.2, False) for value in (1, 2, 5, 9)] == [1, 1, 4, 8]
    assert [neighbour(choice, value, 1.2, True) for value in "abc"] == ["b", "c", "c"]
    assert [neighbour(choice, value, 1.2, False) for value in "abc"] == ["a", "a", "b"]


@settings(max_examples=200, deadline=None)
@given(
    name=st.sampled_from(sorted(DOMAINS)),
    seed=st.integers(0, 2**32),
    factor=st.floats(1.01, 10),
    resample=st.floats(0, 1),
)
def test_values_never_leave_their_domain(name: str, seed: int, factor: float, resample: float):
    _, search = population(factor=factor, resample=resample)
    domain, draws = Domain.model_validate(DOMAINS[name]), np.random.default_rng(seed)
    value = {"uniform": 1.0, "below zero": -1.0, "log_uniform": 1e-2, "integer": 4, "choice": "b"}[name]
    for _ in range(30):
        value = explored(search, {"key": domain}, {"key": value}, draws)["key"]
        if domain.choice is not None:
            assert value in domain.choice
        else:
            low, high = domain.examples()
            assert low <= value <= high and isinstance(value, type(low))


def test_how_often_a_value_is_drawn_anew_is_the_share_that_is_asked_for():
    domain = Domain.model_validate({"log_uniform": [1e-6, 1.0]})
    for resample in (0.0, 0.25, 1.0):
        _, search = population(resample=resample)
        draws, anew, count = np.random.default_rng(0), 0, 4000
        for _ in range(count):
            moved = explored(search, {"key": domain}, {"key": 1e-3}, draws)["key"]
            anew += moved not in (1e-3 * search.factor, 1e-3 / search.factor)
        assert abs(anew / count - resample) <= 5 * (resample * (1 - resample) / count) ** 0.5


def test_a_key_does_not_depend_on_whether_another_was_drawn_anew():
    one, other = Domain.model_validate(DOMAINS["uniform"]), Domain.model_validate(DOMAINS["choice"])
    found = []
    for first in (one, other):
        _, search = population(resample=0.5)
        values = {"first": first.examples()[0], "key": 1.0}
        found.append(explored(search, {"first": first, "key": one}, values, np.random.default_rng(3))["key"])
    assert found[0] == found[1]


def test_a_state_is_kept_until_all_that_may_begin_with_it_have_ended():
    sweep, search = population(population=2, keep=0.5)
    known = generation(sweep, [], [0.1, 0.2])
    known += generation(sweep, known, [0.1, 0.2])
    trials = {trial.number: trial for trial in known}
    assert no_longer_needed(search, trials) == [0, 1]
    trials[3].status = None
    assert no_longer_needed(search, trials) == []
    del trials[3]
    assert no_longer_needed(search, trials) == []


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"seeds": [0, 1]}, "a population has one"),
        ({"stop_early": {"kind": "asha"}}, "replaces its worst members itself"),
        ({"objective": {"minimize": "parameters"}}, "search.kind: pbt knows one objective"),
        ({"search": {"kind": "pbt", "keep": 0.6}}, "keep"),
        ({"search": {"kind": "pbt", "factor": 1.0}}, "factor"),
        ({"search": {"kind": "pbt", "population": 1}}, "population"),
    ],
)
def test_what_a_population_cannot_be_is_refused(changes: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        sweep_of(**POPULATION | changes)
    space = POPULATION["space"] | {"losses.words.a": {"uniform": [0, 1], "when": {"losses.words.normalize": True}}}
    with pytest.raises(ValueError, match="a population varies every key"):
        sweep_of(**POPULATION | {"space": space})
