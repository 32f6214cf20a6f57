"""The course of a sweep, without Ray: the same trials whatever the timing, and nothing lost by a kill at any line."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from sweep_tools import EPOCHS, NAME, POPULATION, carried_out, fixed_in, simulate, sweep_of, told

from mmkd.sweep.course import Course, Next
from mmkd.sweep.journal import Journal, read_journal
from mmkd.sweep.order import Order, Outcome
from mmkd.sweep.ranking import winner_of
from mmkd.sweep.trials import (
    FAILED,
    FINISHED,
    GIVEN_UP,
    HANGING,
    LOST,
    OUT_OF_MEMORY,
    STOPPED,
    UNFIT,
    WENT_ON,
    trials_of,
)

SWEEPS: dict[str, dict[str, Any]] = {
    "random": {"search": {"kind": "random"}},
    "grid": {"search": {"kind": "grid"}, "trials": None, "space": {"train.lr": {"choice": [0.1, 0.01, 0.001]}}},
    "optuna": {"search": {"kind": "optuna", "startup": 4, "ahead": 3}},
    "asha": {"search": {"kind": "optuna", "startup": 4, "ahead": 4}, "stop_early": {"kind": "asha"}},
    "hyperopt, median": {"search": {"kind": "hyperopt", "startup": 4}, "stop_early": {"kind": "median"}},
    "hyperband": {"search": {"kind": "random"}, "stop_early": {"kind": "hyperband", "reduction": 2}},
    "seeds": {"search": {"kind": "optuna", "startup": 4, "ahead": 3}, "seeds": [0, 1, 2]},
    "pbt": POPULATION,
    "two objectives": {"objective": {"minimize": "parameters"}, "search": {"kind": "optuna", "startup": 4}},
}


@pytest.mark.parametrize("name", SWEEPS)
def test_neither_the_order_of_ends_nor_the_number_at_once_changes_any_trial(name: str, tmp_path: Path):
    sweep = sweep_of(**SWEEPS[name])
    expected = told(simulate(sweep, tmp_path / "first.jsonl", at_once=1))
    for luck, at_once in enumerate([1, 2, 3, 8, 50]):
        assert told(simulate(sweep, tmp_path / f"{luck}.jsonl", at_once, luck)) == expected


def test_the_rules_stop_some_trials_and_give_some_up(tmp_path: Path):
    stopped = simulate(sweep_of(**SWEEPS["asha"], trials=30), tmp_path / "a.jsonl")
    assert {trial.status for trial in stopped.values()} == {FINISHED, STOPPED}
    given_up = simulate(sweep_of(**SWEEPS["seeds"], trials=30), tmp_path / "b.jsonl")
    assert {trial.status for trial in given_up.values()} == {FINISHED, GIVEN_UP}


@pytest.mark.parametrize("name", SWEEPS)
def test_after_a_kill_at_any_line_the_sweep_ends_with_the_same_trials(name: str, tmp_path: Path):
    sweep = sweep_of(**SWEEPS[name])
    whole = tmp_path / "whole.jsonl"
    expected = told(simulate(sweep, whole))
    data = whole.read_bytes()
    draws = random.Random(0)
    for number in range(25):
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(data[: draws.randrange(len(data))])
        for kill in range(draws.randrange(4)):
            simulate(sweep, path, at_once=draws.randrange(1, 6), luck=kill, steps=draws.randrange(5))
        assert told(simulate(sweep, path, at_once=3, luck=number)) == expected
        ends = [event["trial"] for event in read_journal(path) if event["event"] == "ended"]
        assert sorted(ends) == list(range(len(expected)))  # each trial once


def test_lost_attempts_are_made_again_and_change_nothing(tmp_path: Path):
    sweep = sweep_of(**SWEEPS["asha"])
    expected = told(simulate(sweep, tmp_path / "whole.jsonl"))

    def fails(order: Order, draws: random.Random) -> str | None:
        return LOST if draws.random() < 0.4 else None

    trials = simulate(sweep, tmp_path / "lossy.jsonl", fails=fails)
    assert told(trials) == expected
    assert sum(len(trial.broke_off) for trial in trials.values()) > 5


@pytest.mark.parametrize(("reason", "allowed"), [(LOST, 10), (OUT_OF_MEMORY, 1), (HANGING, 1), (FAILED, 0)])
def test_a_trial_that_breaks_off_too_often_fails_with_its_reason_and_the_others_go_on(
    reason: str, allowed: int, tmp_path: Path
):
    sweep = sweep_of(trials=5, search={"kind": "random"})
    trials = simulate(sweep, tmp_path / "j.jsonl", fails=lambda order, _: reason if order.number == 2 else None)
    assert [trials[n].status for n in range(5)] == [FINISHED, FINISHED, FAILED, FINISHED, FINISHED]
    assert [each.reason for each in trials[2].broke_off] == [reason] * (allowed + 1)
    assert trials[2].says == "planted"
    again = simulate(sweep, tmp_path / "j.jsonl")
    assert told(again) == told(trials)


def test_kills_of_the_leading_process_count_for_no_trial(tmp_path: Path):
    sweep = sweep_of(trials=2, search={"kind": "random"}, retry={"lost": 0})
    for _ in range(5):
        simulate(sweep, tmp_path / "j.jsonl", steps=0)
    trials = simulate(sweep, tmp_path / "j.jsonl")
    assert [trial.status for trial in trials.values()] == [FINISHED, FINISHED]
    assert [each.counts for each in trials[0].broke_off] == [False] * 5


def test_values_that_are_no_experiment_are_a_failed_trial_with_the_reason(tmp_path: Path):
    with Journal(tmp_path / "j.jsonl") as journal:
        course = Course(
            sweep_of(trials=3, search={"kind": "random"}),
            fixed_in(tmp_path),
            journal,
            refused=lambda trial: "no such kind" if trial.number == 1 else None,
        )
        orders = [course.next(), course.next(), course.next()]
    assert [order.number for order in orders if isinstance(order, Order)] == [0, 2]
    assert (course.trials[1].status, course.trials[1].says) == (FAILED, "no such kind")


def test_an_unfit_place_stops_the_sweep_and_costs_no_trial(tmp_path: Path):
    sweep = sweep_of(trials=3, search={"kind": "random"})
    with Journal(tmp_path / "j.jsonl") as journal:
        course = Course(sweep, fixed_in(tmp_path), journal)
        order = course.next()
        assert isinstance(order, Order)
        course.broke_off(order.number, UNFIT, "the disk is full", 1.0)
        assert (course.next(), course.unfit) == (Next.END, "the disk is full")
    assert len(simulate(sweep, tmp_path / "j.jsonl")) == 3
    assert all(trial.status == FINISHED for trial in trials_of(read_journal(tmp_path / "j.jsonl")).values())


def test_budgets_count_over_interruptions(tmp_path: Path):
    """Each end takes an hour of one GPU and of the clock; the leading process is away for a week in between."""
    now = [0.0]
    sweep = sweep_of(trials=None, hours=3.5, search={"kind": "random"}, per_trial={"gpus": 0.5})
    for expected in ("begun", "gone on with"):
        with Journal(tmp_path / "j.jsonl") as journal:
            course = Course(sweep, fixed_in(tmp_path), journal, clock=lambda: now[0])
            while isinstance(order := course.next(), Order):
                now[0] += 3600
                course.ended(order.number, carried_out(order, course.trials[order.number].values), 3600.0)
                if expected == "begun" and order.number == 1:
                    break
            course.close()
        now[0] += 7 * 24 * 3600
    assert len(course.trials) == 4  # the fourth began after 3 hours
    limited = sweep.model_copy(update={"hours": None, "gpu_hours": 2.5})
    with Journal(tmp_path / "j.jsonl") as journal:
        course = Course(limited, fixed_in(tmp_path), journal, clock=lambda: now[0])
        order = course.next()
        assert isinstance(order, Order)  # 4 trials of half a GPU hour are 2
        course.ended(order.number, carried_out(order, course.trials[4].values), 3600.0)
        assert course.next() is Next.END


@pytest.mark.parametrize("name", SWEEPS)
def test_it_is_over_when_nothing_is_left_and_not_before(name: str, tmp_path: Path):
    sweep, path = sweep_of(**SWEEPS[name]), tmp_path / "j.jsonl"
    simulate(sweep, path, steps=2)
    with Journal(path) as journal:
        assert not Course(sweep, fixed_in(tmp_path), journal).is_over
    simulate(sweep, path)
    with Journal(path) as journal:
        course = Course(sweep, fixed_in(tmp_path), journal)
        assert course.is_over and course.next() is Next.END


def test_more_trials_may_be_asked_for_later(tmp_path: Path):
    few = simulate(sweep_of(**SWEEPS["optuna"], trials=7), tmp_path / "j.jsonl")
    more = simulate(sweep_of(**SWEEPS["optuna"], trials=15), tmp_path / "j.jsonl")
    assert told(more)[:7] == told(few)
    assert told(more) == told(simulate(sweep_of(**SWEEPS["optuna"], trials=15), tmp_path / "k.jsonl"))


def test_an_order_says_all_that_a_worker_needs(tmp_path: Path):
    sweep = sweep_of(search={"kind": "random"}, seeds=[3, 4])
    with Journal(tmp_path / "j.jsonl") as journal:
        course = Course(sweep, fixed_in(tmp_path), journal)
        order = course.next()
        assert isinstance(order, Order)
    values = course.trials[0].values
    assert order.overrides[0] == "seeds=[0]" and len(order.overrides) == 1 + len(values)
    assert Order.model_validate_json(order.model_dump_json()) == order
    outcome = carried_out(order, values)
    assert Outcome.model_validate_json(outcome.model_dump_json()) == outcome


def test_the_winner_is_the_best_mean_of_those_that_finished(tmp_path: Path):
    sweep = sweep_of(**SWEEPS["asha"], trials=30)
    trials = simulate(sweep, tmp_path / "j.jsonl")
    winner = winner_of(trials.values(), sweep.objective)
    assert winner is not None and winner.status == FINISHED
    finished = [trial for trial in trials.values() if trial.status == FINISHED]
    assert winner.objectives[NAME] == max(trial.objectives[NAME] for trial in finished)


def test_a_population_ends_with_its_last_generation_which_alone_can_win(tmp_path: Path):
    sweep = sweep_of(**POPULATION)
    trials = simulate(sweep, tmp_path / "j.jsonl", at_once=50)
    assert [trial.status for trial in trials.values()] == [WENT_ON] * 12 + [FINISHED] * 6
    assert [trial.seeds[0].epochs for trial in trials.values()] == [3] * 6 + [6] * 6 + [9] * 6
    winner = winner_of(trials.values(), sweep.objective)
    assert winner is not None and winner.number >= 12


def test_an_order_of_a_population_says_whose_state_it_begins_with_and_how_far_it_goes(tmp_path: Path):
    sweep, orders = sweep_of(**POPULATION), dict[int, Order]()
    with Journal(tmp_path / "j.jsonl") as journal:
        course = Course(sweep, fixed_in(tmp_path), journal)
        while isinstance(order := course.next(), Order):
            orders[order.number] = order
            course.ended(order.number, carried_out(order, course.trials[order.number].values), 1.0)
    assert [order.until for order in orders.values()] == [3] * 6 + [6] * 6 + [None] * 6
    assert {orders[number].parent for number in range(6)} == {None}
    for number, order in orders.items():
        if order.parent is None:
            assert number < 6
            continue
        parent = orders[order.parent]
        assert number // 6 == order.parent // 6 + 1
        more = order.overrides[len(parent.overrides) :]
        assert order.overrides[: len(parent.overrides)] == parent.overrides and len(more) <= 1
        assert all(line.startswith(f"changes.epoch{parent.until}={{") for line in more)
        if order.parent % 6 == number % 6:
            assert more == []
    assert any(len(order.overrides) > 6 for order in orders.values())
    assert EPOCHS == 9


def test_a_generation_waits_for_all_of_the_one_before_and_for_no_other(tmp_path: Path):
    with Journal(tmp_path / "j.jsonl") as journal:
        course = Course(sweep_of(**POPULATION), fixed_in(tmp_path), journal)
        orders = [course.next() for _ in range(6)]
        assert all(isinstance(order, Order) for order in orders) and course.next() is Next.WAIT
        for order in orders:
            assert isinstance(order, Order) and course.next() is Next.WAIT
            course.ended(order.number, carried_out(order, course.trials[order.number].values), 1.0)
        assert isinstance(course.next(), Order)


def test_members_that_fail_are_replaced_and_without_any_left_the_sweep_ends(tmp_path: Path):
    sweep = sweep_of(**POPULATION)
    some = simulate(
        sweep, tmp_path / "some.jsonl", fails=lambda order, _: FAILED if order.number in (0, 1, 2) else None
    )
    assert len(some) == 18 and [some[number].status for number in range(4)] == [FAILED] * 3 + [WENT_ON]
    parents = {trial.parent.number for trial in some.values() if trial.parent is not None}
    assert not parents & {0, 1, 2} and {some[n].parent.number for n in (6, 7, 8)} <= {3, 4, 5}
    none = simulate(sweep, tmp_path / "none.jsonl", fails=lambda order, _: FAILED)
    assert len(none) == 6 and winner_of(none.values(), sweep.objective) is None
