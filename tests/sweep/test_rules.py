"""Stopping rules against their definitions, and what they do to a sweep."""

from __future__ import annotations

import math
import random
import statistics

import pytest
from sweep_tools import NAME

from mmkd.config.sweep_file import Asha, HyperBand, Median
from mmkd.sweep.rules import bar_of, hopeless, rung_epochs, rungs, stopped_at
from mmkd.sweep.trials import Bar, SeedResult, Trial


def trial(number: int, curve: list[float]) -> Trial:
    return Trial(number, {}, {}, None, status="finished", curve=curve)


def test_rungs_are_reduction_times_apart_and_none_is_at_the_end():
    assert rung_epochs(1, 3, 30) == [1, 3, 9, 27]
    assert rung_epochs(2, 2, 8) == [2, 4]
    assert rung_epochs(5, 3, 5) == []


def test_asha_lets_the_best_part_of_all_that_came_to_a_rung_go_on():
    draws = random.Random(0)
    for _ in range(300):
        reduction, count = draws.choice([2, 3, 4]), draws.randrange(12)
        known = [trial(n, [draws.random() for _ in range(draws.randrange(1, 10))]) for n in range(count)]
        found = rungs(Asha(grace_epochs=1, reduction=reduction), known, 9, count)
        for epoch in rung_epochs(1, reduction, 9):
            others = [each.curve[epoch - 1] for each in known if len(each.curve) >= epoch]
            mine = draws.random()
            rank = 1 + sum(other > mine for other in others)
            goes_on = rank <= math.ceil((len(others) + 1) / reduction)
            assert (epoch not in found or mine >= found[epoch]) == goes_on


def test_hyperband_begins_later_for_each_next_trial_and_one_bracket_never_stops():
    known = [trial(n, [0.1 * n] * 9) for n in range(9)]
    rule = HyperBand(grace_epochs=1, reduction=3)
    assert [sorted(rungs(rule, known, 10, number)) for number in range(5)] == [[1, 3, 9], [3, 9], [9], [], [1, 3, 9]]


def test_the_median_rule_compares_the_best_so_far_with_the_median_and_waits_for_enough_others():
    known = [trial(n, [float(n), 10.0 + n, 20.0 + n]) for n in range(4)]
    assert rungs(Median(grace_epochs=2, fewest=4), known, 4, 4) == {2: 11.5, 3: 21.5}
    assert rungs(Median(grace_epochs=2, fewest=5), known, 4, 4) == {}


def test_a_trial_stops_at_the_first_rung_that_it_misses_and_equal_is_enough():
    assert stopped_at([0.5, 0.5, 0.6], {1: 0.5, 3: 0.7}) == 3
    assert stopped_at([0.5, 0.5], {1: 0.5, 3: 0.7}) is None
    assert stopped_at([0.4, 0.9], {1: 0.5, 3: 0.7}) == 1
    assert stopped_at([0.4], {}) is None


def seeds(*values: float) -> list[SeedResult]:
    return [SeedResult(n, {NAME: value}, "r", 1, 1.0) for n, value in enumerate(values)]


def test_the_bar_pools_deviations_within_trials_and_takes_the_best_of_those_with_most_seeds():
    known = [trial(0, []), trial(1, []), trial(2, [])]
    known[0].seeds, known[1].seeds, known[2].seeds = seeds(0.5, 0.7), seeds(0.6, 0.65, 0.7), seeds(0.99)
    bar = bar_of(known, NAME)
    pooled = math.sqrt((statistics.variance([0.5, 0.7]) + 2 * statistics.variance([0.6, 0.65, 0.7])) / 3)
    assert bar == Bar(pytest.approx(0.65), 3, pytest.approx(pooled))
    assert bar_of(known[2:], NAME) is None


def test_hopeless_is_so_many_standard_errors_below_the_bar():
    bar = Bar(best=0.7, seeds=4, std=0.1)
    error = 0.1 * math.sqrt(1 / 1 + 1 / 4)
    assert hopeless([0.7 - 2.01 * error], bar, 2.0) and not hopeless([0.7 - 1.99 * error], bar, 2.0)
    error = 0.1 * math.sqrt(1 / 2 + 1 / 4)
    assert hopeless([0.7 - 2.01 * error] * 2, bar, 2.0) and not hopeless([0.7 - 1.99 * error] * 2, bar, 2.0)
    assert not hopeless([0.0], None, 2.0) and not hopeless([0.0], bar, None)
