"""The interquartile mean against scipy and a walk, and how often its interval covers it."""

import math

import numpy as np
import pytest
from scipy import stats

from mmkd.report.statistics.interquartile import interquartile_interval, interquartile_mean


def test_the_mean_of_a_thousand_cases():
    generator = np.random.default_rng(0)
    for _ in range(1000):
        n = int(generator.integers(1, 30))
        values = generator.integers(0, 10, n) / 10
        rest = sorted(values.tolist())[n // 4 : n - n // 4]
        found = float(interquartile_mean(values))
        assert found == pytest.approx(math.fsum(rest) / len(rest), rel=1e-13)
        assert found == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-13)


def test_the_mean_by_hand():
    assert interquartile_mean(np.array([100.0, 1.0, 2.0, -50.0])) == 1.5
    assert interquartile_mean(np.array([[9.0, 1.0, 2.0, 3.0, 0.0], [4.0] * 5])).tolist() == [2.0, 4.0]
    assert interquartile_mean(np.array([7.0])) == 7.0


def test_runs_are_drawn_within_their_task():
    """Tasks of equal runs: each resample is the same, whereas runs drawn from all tasks together would mix them."""
    runs = [[0.0] * 4, [1.0] * 4, [5.0] * 4]
    assert interquartile_interval(runs, np.random.default_rng(0)) == (1.5, 1.5)
    assert float(interquartile_mean(np.array(runs).ravel())) == 1.5


def test_tasks_may_have_different_numbers_of_runs():
    low, high = interquartile_interval([[0.1, 0.3], [0.2, 0.4, 0.5]], np.random.default_rng(0))
    assert 0.1 <= low < high <= 0.5


def covered(runs: int, tasks: int, cases: int) -> float:
    """How often the interval of normal scores holds the interquartile mean of what they are drawn from."""
    generator = np.random.default_rng(1)
    centres = np.linspace(0, 2, tasks)[:, None]
    true = float(interquartile_mean((generator.normal(size=(tasks, 100_000)) + centres).ravel()))
    hits = 0
    for _ in range(cases):
        low, high = interquartile_interval(list(generator.normal(size=(tasks, runs)) + centres), generator, 500)
        hits += low <= true <= high
    return hits / cases


def test_the_interval_covers_95_percent_with_enough_runs():
    assert covered(runs=30, tasks=3, cases=1500) == pytest.approx(0.95, abs=0.02)


def test_the_interval_is_too_narrow_with_few_runs_as_its_file_says():
    assert covered(runs=3, tasks=5, cases=1000) == pytest.approx(0.86, abs=0.04)
    assert covered(runs=10, tasks=5, cases=1000) == pytest.approx(0.93, abs=0.025)


def test_the_same_seed_gives_the_same_interval():
    runs = [[0.1, 0.3, 0.7], [0.2, 0.9]]
    first, again, other = (interquartile_interval(runs, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first == again
    assert other != first


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        ([], "found none, expected the scores of at least one"),
        ([[1.0, 2.0], [1.0]], "found 1, expected at least 2"),
        ([[1.0, math.nan]], "found nan, expected a finite"),
    ],
)
def test_what_has_no_interval_is_refused(runs: list[list[float]], words: str):
    with pytest.raises(ValueError, match=words):
        interquartile_interval(runs, np.random.default_rng(0))
