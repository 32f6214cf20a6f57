"""Effect sizes against their definitions and scipy."""

import math
import statistics

import numpy as np
import pytest
from scipy import stats

from mmkd.report.statistics import paired_t
from mmkd.report.statistics.effect_size import cliffs_delta, cohens_d_z, hedges_g, probability_of_improvement


def test_d_z_of_a_thousand_cases():
    generator = np.random.default_rng(0)
    tested = 0
    for _ in range(1000):
        a, b = generator.integers(0, 6, (2, int(generator.integers(2, 9)))).astype(float)
        test = paired_t(a.tolist(), b.tolist())
        assert test is not None
        found = cohens_d_z(test)
        if len(set((a - b).tolist())) == 1:
            assert found is None
            continue
        tested += 1
        assert found == pytest.approx(np.mean(a - b) / np.std(a - b, ddof=1), rel=1e-12, abs=1e-15)
    assert tested > 900


def test_g_of_a_thousand_cases():
    """The correction by Hedges' exact formula, with the Gamma function itself."""
    generator = np.random.default_rng(1)
    for _ in range(1000):
        n, m = generator.integers(2, 9, 2)
        a, b = generator.normal(size=n).tolist(), (generator.normal(size=m) + 1).tolist()
        free = int(n + m - 2)
        squares = sum((x - statistics.fmean(a)) ** 2 for x in a) + sum((x - statistics.fmean(b)) ** 2 for x in b)
        d = (sum(a) / n - sum(b) / m) / math.sqrt(squares / free)
        j = math.gamma(free / 2) / (math.sqrt(free / 2) * math.gamma((free - 1) / 2))
        assert hedges_g(a, b) == pytest.approx(j * d, rel=1e-12)


def test_g_has_no_bias():
    """Means 1 deviation apart, three values of each: g is 1 on average, Cohen's d 1.25."""
    generator = np.random.default_rng(2)
    pairs = zip(generator.normal(1, 1, (20_000, 3)).tolist(), generator.normal(0, 1, (20_000, 3)).tolist(), strict=True)
    found = [hedges_g(a, b) for a, b in pairs]
    assert np.mean(found) == pytest.approx(1, abs=4 * float(np.std(found)) / math.sqrt(20_000))


def test_dominance_of_a_thousand_cases():
    generator = np.random.default_rng(3)
    for _ in range(1000):
        n, m = generator.integers(1, 9, 2)
        a, b = generator.integers(0, 5, n).tolist(), generator.integers(0, 5, m).tolist()
        above = sum((x > y) + 0.5 * (x == y) for x in a for y in b) / (n * m)
        found = probability_of_improvement(a, b)
        assert found == pytest.approx(above, rel=1e-13)
        assert found == pytest.approx(stats.mannwhitneyu(a, b, method="asymptotic").statistic / (n * m), rel=1e-13)
        assert cliffs_delta(a, b) == pytest.approx(2 * above - 1, rel=1e-12, abs=1e-15)
        assert cliffs_delta(b, a) == -cliffs_delta(a, b)


def test_values_without_spread_have_no_g():
    assert hedges_g([0.5, 0.5], [0.4, 0.4]) is None
    assert hedges_g([0.1 + 0.2, 0.3], [0.1, 0.1]) is None
    assert hedges_g([0.5, 0.6], [0.4, 0.4]) is not None
    assert cliffs_delta([0.5, 0.5], [0.5]) == 0
    assert probability_of_improvement([0.5], [0.4]) == 1


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([0.5], [0.4, 0.3], "found 1, expected at least 2"),
        ([0.5, math.nan], [0.4, 0.3], "found nan, expected a finite"),
    ],
)
def test_g_refuses(a: list[float], b: list[float], words: str):
    for one, other in ((a, b), (b, a)):
        with pytest.raises(ValueError, match=words):
            hedges_g(one, other)


def test_dominance_refuses():
    for a, b in (([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [math.inf])):
        with pytest.raises(ValueError, match="expected"):
            cliffs_delta(a, b)
