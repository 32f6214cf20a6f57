"""Almost stochastic order against its integral, a full bootstrap, and by simulation."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from mmkd.report.statistics.dominance import epsilon_min, violation


def by_integral(a: list[int], b: list[int]) -> Fraction:
    """Epsilon from the quantile functions at the middle of each step of a grid that has all their steps."""
    n, m = len(a), len(b)
    steps = n * m
    violated = whole = Fraction(0)
    for step in range(steps):
        t = Fraction(2 * step + 1, 2 * steps)
        first, second = (sorted(values)[math.ceil(t * len(values)) - 1] for values in (a, b))
        square = Fraction((first - second) ** 2, steps)
        whole += square
        violated += square if first < second else 0
    return violated / whole if whole else Fraction(1, 2)


def test_a_thousand_cases_by_the_integral():
    generator = np.random.default_rng(0)
    for _ in range(1000):
        n, m = generator.integers(1, 8, 2)
        a, b = generator.integers(0, 6, n), generator.integers(0, 6, m)
        found = float(violation(a.astype(float), b.astype(float)))
        assert found == pytest.approx(float(by_integral(a.tolist(), b.tolist())), rel=1e-12, abs=1e-15)
        assert found + float(violation(b.astype(float), a.astype(float))) == pytest.approx(1)


def test_by_hand():
    """Sorted, the gaps are -1, 0, 3: one of 1 + 9 is violated."""
    assert violation(np.array([5.0, 0.0, 1.0]), np.array([1.0, 2.0, 1.0])) == pytest.approx(0.1)
    assert violation(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 0
    assert violation(np.array([0.0]), np.array([1.0, 2.0, 3.0])) == 1


def test_the_whole_is_the_wasserstein_distance():
    """For one side constantly 0 and the other above it, the distance's square is the mean square."""
    a, b = np.array([3.0, -1.0, 2.0]), np.zeros(5)
    assert violation(a, b) == pytest.approx(1 / np.sum(a**2))


def test_the_bound_by_a_full_bootstrap():
    """All resamples of three values of each side, each as likely."""
    a, b = [0.0, 2.0, 3.0], [1.0, 1.5, 2.5]
    every = [
        float(by_integral([int(2 * x) for x in one], [int(2 * x) for x in other]))
        for one in itertools.product(a, repeat=3)
        for other in itertools.product(b, repeat=3)
    ]
    mean = sum(every) / len(every)
    deviation = math.sqrt(sum((each - mean) ** 2 for each in every) / len(every))
    epsilon = float(violation(np.array(a), np.array(b)))
    for level in (0.5, 0.3, 0.05):
        expected = min(1.0, epsilon - stats.norm.ppf(level) * deviation)
        found = epsilon_min(a, b, np.random.default_rng(0), level, resamples=40_000)
        assert found == pytest.approx(expected, abs=0.01)


def test_the_bound_is_within_0_and_1():
    generator = np.random.default_rng(1)
    assert epsilon_min([0.0, 1.0], [0.5, 0.6], generator) <= 1
    assert epsilon_min([2.0, 3.0], [0.0, 1.0], generator) == 0
    assert epsilon_min([0.0, 1.0], [2.0, 3.0], generator) == 1
    assert epsilon_min([0.5, 0.5], [0.5, 0.5], generator) == 0.5


def found_below(limit: float, values: int, other_deviation: float, cases: int = 600) -> float:
    generator = np.random.default_rng(2)
    draws = generator.normal(size=(cases, 2, values)) * np.array([[1.0], [other_deviation]])
    return float(np.mean([epsilon_min(*pair, generator, resamples=200) < limit for pair in draws.tolist()]))


def test_how_often_the_bound_is_wrong_is_as_its_file_says():
    assert found_below(0.5, 200, 2.0) == pytest.approx(0.09, abs=0.035)
    assert found_below(0.5, 5, 2.0) == pytest.approx(0.23, abs=0.05)
    assert found_below(0.5, 5, 1.0) == pytest.approx(0.20, abs=0.05)
    assert found_below(0.2, 5, 1.0) == pytest.approx(0.07, abs=0.03)


def test_the_same_seed_gives_the_same_bound():
    values = [0.1, 0.5, 0.9], [0.2, 0.4, 0.6]
    first, again = (epsilon_min(*values, np.random.default_rng(3)) for _ in range(2))
    assert first == again


@pytest.mark.parametrize(
    ("a", "b", "alpha", "words"),
    [
        ([1.0], [1.0, 2.0], 0.05, "found 1, expected at least 2"),
        ([1.0, 2.0], [1.0], 0.05, "found 1, expected at least 2"),
        ([1.0, math.nan], [1.0, 2.0], 0.05, "found nan, expected a finite"),
        ([1.0, 2.0], [1.0, 2.0], 0.0, "level: found 0.0"),
        ([1.0, 2.0], [1.0, 2.0], 0.95, "level: found 0.95"),
    ],
)
def test_what_has_no_bound_is_refused(a: list[float], b: list[float], alpha: float, words: str):
    with pytest.raises(ValueError, match=words):
        epsilon_min(a, b, np.random.default_rng(0), alpha)
