"""Tests over examples against walks over all resamples and all swaps, against scipy, and by simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from mmkd.report.statistics import over_examples
from mmkd.report.statistics.example_counts import (
    class_counts,
    distance_counts,
    kappa_counts,
    macro_f1,
    quadratic_kappa,
    ratio,
    right_counts,
)
from mmkd.report.statistics.over_examples import (
    McNemar,
    bootstrap_interval,
    difference,
    kinds,
    mcnemar,
    randomisation,
)


def random_counts(generator: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, over_examples.Metric]:
    """Counts of two networks on labels of three classes, for one of three metrics."""
    gold, one, other = generator.integers(0, 3, (3, n))
    other = np.where(generator.random(n) < 0.4, gold, other)
    match generator.integers(0, 3):
        case 0:
            return right_counts(gold, one), right_counts(gold, other), ratio
        case 1:
            return class_counts(gold, one, 3), class_counts(gold, other, 3), macro_f1
        case _:
            return kappa_counts(gold, one, 3), kappa_counts(gold, other, 3), quadratic_kappa


def by_all_swaps(a: np.ndarray, b: np.ndarray, metric: over_examples.Metric) -> float:
    """Share of all 2^N swaps with a difference at least as far from 0 as the observed one."""
    observed = abs(float(metric(a.sum(0)) - metric(b.sum(0))))
    swaps = np.array(list(itertools.product((False, True), repeat=len(a))))[:, :, None]
    one, other = np.where(swaps, b, a).sum(1), np.where(swaps, a, b).sum(1)
    return float((np.abs(metric(one) - metric(other)) >= observed - 1e-12).mean())


def test_swaps_of_a_thousand_cases_by_a_walk_over_all_of_them():
    generator = np.random.default_rng(0)
    standard = []
    for _ in range(1000):
        a, b, metric = random_counts(generator, int(generator.integers(1, 9)))
        exact, shuffles = by_all_swaps(a, b, metric), 400
        drawn = randomisation(kinds(a, b), metric, generator, shuffles) * (shuffles + 1) - 1
        if exact == 1:
            assert drawn == shuffles
        else:
            standard.append((drawn - shuffles * exact) / math.sqrt(shuffles * exact * (1 - exact)))
    assert len(standard) > 500
    assert np.abs(standard).max() < 4.8
    assert np.mean(standard) == pytest.approx(0, abs=4 / math.sqrt(len(standard)))
    assert np.std(standard) == pytest.approx(1, abs=0.1)


def test_the_difference_is_that_of_the_metric():
    generator = np.random.default_rng(1)
    for _ in range(200):
        a, b, metric = random_counts(generator, int(generator.integers(1, 40)))
        assert difference(kinds(a, b), metric) == pytest.approx(float(metric(a.sum(0)) - metric(b.sum(0))), abs=1e-14)


def test_resamples_by_a_walk_over_all_of_them():
    """Quantiles of the differences of all N^N resamples, which have atoms: those of levels beside it are bounds."""
    generator = np.random.default_rng(2)
    for _ in range(60):
        n = int(generator.integers(2, 6))
        a, b, metric = random_counts(generator, n)
        places = np.array(list(itertools.product(range(n), repeat=n)))
        every = np.sort(metric(a[places].sum(1)) - metric(b[places].sum(1)))
        low, high = bootstrap_interval(kinds(a, b), metric, generator, resamples=20_000)
        assert np.quantile(every, 0.02, method="lower") - 1e-12 <= low
        assert low <= np.quantile(every, 0.03, method="higher") + 1e-12
        assert np.quantile(every, 0.97, method="lower") - 1e-12 <= high
        assert high <= np.quantile(every, 0.98, method="higher") + 1e-12


def test_p_counts_the_observed_assignment():
    """30 examples that one network alone has right: no shuffle is as far, p is 1 / (shuffles + 1) and never 0."""
    right, wrong = np.tile([1.0, 1.0], (30, 1)), np.tile([0.0, 1.0], (30, 1))
    assert randomisation(kinds(right, wrong), ratio, np.random.default_rng(0), shuffles=99) == 0.01


def test_p_counts_both_sides():
    """Four examples, all right for one network alone: 2 of 16 swaps are as far, one on each side."""
    right, wrong = np.tile([1.0, 1.0], (4, 1)), np.tile([0.0, 1.0], (4, 1))
    for one, other in ((right, wrong), (wrong, right)):
        found = randomisation(kinds(one, other), ratio, np.random.default_rng(0), shuffles=9999)
        assert found == pytest.approx(0.125, abs=0.015)


def test_under_the_null_p_is_uniform():
    """Distances of real values have no ties: with 19 shuffles p is i / 20, each as likely."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(4000):
        gold, one, other = generator.normal(size=(3, 25))
        examples = kinds(distance_counts(gold, one), distance_counts(gold, other))
        found.append(randomisation(examples, ratio, generator, shuffles=19))
    counts = np.bincount(np.rint(20 * np.array(found)).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3


def test_under_the_null_p_of_f1_is_at_most_its_level_as_often():
    generator = np.random.default_rng(4)
    found = []
    for _ in range(2000):
        gold = generator.integers(0, 3, 40)
        one, other = np.where(generator.random((2, 40)) < 0.6, gold, generator.integers(0, 3, (2, 40)))
        examples = kinds(class_counts(gold, one, 3), class_counts(gold, other, 3))
        found.append(randomisation(examples, macro_f1, generator, shuffles=99))
    for level in (0.01, 0.05, 0.2):
        assert np.mean(np.array(found) <= level) <= level + 3 * math.sqrt(level * (1 - level) / 2000)
    assert np.mean(np.array(found) <= 0.2) > 0.15


def covered(counts: str, cases: int, n: int = 250) -> float:
    """How often the interval holds the difference of what the examples are drawn from, a million of them."""
    generator = np.random.default_rng(5)

    def drawn(size: int) -> tuple[np.ndarray, np.ndarray, over_examples.Metric]:
        gold = generator.choice(3, size, p=[0.5, 0.3, 0.2])
        guesses = generator.choice(3, (2, size), p=[0.4, 0.3, 0.3])
        both_know = generator.random(size) < 0.5
        one, other = np.where(both_know | (generator.random((2, size)) < [[0.5], [0.3]]), gold, guesses)
        match counts:
            case "accuracy":
                return right_counts(gold, one), right_counts(gold, other), ratio
            case "macro_f1":
                return class_counts(gold, one, 3), class_counts(gold, other, 3), macro_f1
            case _:
                return kappa_counts(gold, one, 3), kappa_counts(gold, other, 3), quadratic_kappa

    a, b, metric = drawn(1_000_000)
    true = float(metric(a.sum(0)) - metric(b.sum(0)))
    hits = 0
    for _ in range(cases):
        a, b, metric = drawn(n)
        low, high = bootstrap_interval(kinds(a, b), metric, generator, 400)
        hits += low <= true <= high
    return hits / cases


@pytest.mark.parametrize("counts", ["accuracy", "macro_f1", "qwk"])
def test_the_interval_covers_95_percent(counts: str):
    assert covered(counts, cases=1000) == pytest.approx(0.95, abs=0.02)


def test_mcnemar_of_a_thousand_cases():
    generator = np.random.default_rng(6)
    for _ in range(1000):
        right_a, right_b = generator.random((2, int(generator.integers(1, 40)))) < generator.random((2, 1))
        found = mcnemar(right_a, right_b)
        only_a = sum(bool(x and not y) for x, y in zip(right_a, right_b, strict=True))
        only_b = sum(bool(y and not x) for x, y in zip(right_a, right_b, strict=True))
        assert (found.only_a, found.only_b) == (only_a, only_b)
        total = only_a + only_b
        if total:
            assert found.p == pytest.approx(stats.binomtest(only_a, total).pvalue, rel=1e-11)
        middle = math.comb(total, only_a) / 2**total
        tail = sum(math.comb(total, k) for k in range(min(only_a, only_b) + 1)) / 2**total
        assert found.mid_p == pytest.approx(2 * tail - middle if total else 1.0, rel=1e-11)
        assert mcnemar(right_b, right_a) == McNemar(only_b, only_a, found.p, found.mid_p)


def test_mcnemar_by_hand():
    """Of six examples one network alone has right 5 to 1: 2 * 7 / 64, less 6 / 64 for the mid-p."""
    right_a = np.array([True] * 5 + [False] + [True] * 3)
    right_b = np.array([False] * 5 + [True] + [True] * 3)
    found = mcnemar(right_a, right_b)
    assert (found.only_a, found.only_b) == (5, 1)
    assert (found.p, found.mid_p) == pytest.approx((14 / 64, 8 / 64), rel=1e-14)
    assert mcnemar(right_a, right_a) == McNemar(0, 0, 1.0, 1.0)
    assert mcnemar(right_a[:0], right_a[:0]) == McNemar(0, 0, 1.0, 1.0)


def test_mcnemar_under_the_null():
    """The exact p is never too small; the mid-p is above its level by little, and less conservative."""
    exact = mid = 0.0
    for total in range(30):
        for only_a in range(total + 1):
            chance = math.comb(total, only_a) / 2**total / 30
            right = np.arange(total) < only_a
            found = mcnemar(right, ~right)
            exact += chance * (found.p <= 0.05)
            mid += chance * (found.mid_p <= 0.05)
    assert exact < mid <= 0.055
    assert exact <= 0.05


def test_networks_that_agree_show_nothing():
    counts = np.array([[1.0, 1.0], [0.0, 1.0]])
    same = kinds(counts, counts)
    assert randomisation(same, ratio, np.random.default_rng(0), shuffles=9) == 1
    assert bootstrap_interval(same, ratio, np.random.default_rng(0)) == (0, 0)


def test_the_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch: pytest.MonkeyPatch):
    a, b, metric = random_counts(np.random.default_rng(7), 30)
    examples = kinds(a, b)

    def found() -> tuple[float, tuple[float, float]]:
        return (
            randomisation(examples, metric, np.random.default_rng(0), 999),
            bootstrap_interval(examples, metric, np.random.default_rng(0), 999),
        )

    whole = found()
    monkeypatch.setattr(over_examples, "NUMBERS_AT_ONCE", 100)
    assert found() == whole
    monkeypatch.setattr(over_examples, "NUMBERS_AT_ONCE", 1)
    assert found() == whole


def test_what_cannot_be_compared_is_refused():
    good = np.ones((2, 2))
    for bad in (np.ones((3, 2)), np.ones((2, 3)), np.ones(2)):
        with pytest.raises(ValueError, match=r"expected \[N, C\] of both"):
            kinds(good, bad)
    with pytest.raises(ValueError, match="N at least 1"):
        kinds(np.ones((0, 2)), np.ones((0, 2)))
    with pytest.raises(ValueError, match="not finite"):
        kinds(good, np.array([[1.0, math.nan], [1.0, 1.0]]))
    with pytest.raises(ValueError, match="found 1, expected at least 2"):
        bootstrap_interval(kinds(np.ones((1, 2)), np.ones((1, 2))), ratio, np.random.default_rng(0))
    with pytest.raises(ValueError, match="found 3 and 2, expected as many"):
        mcnemar(np.ones(3, bool), np.ones(2, bool))
