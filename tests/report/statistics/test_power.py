"""Power against its integral, against known tables, and by simulation."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from mmkd.report.statistics.power import MOST_PAIRS, pairs_needed, power_of, smallest_difference


def by_integral(pairs: int, effect: float, level: float) -> float:
    """Chance that |t| is beyond its critical value: over the deviation's distribution, of the normal mean."""
    free, shift = pairs - 1, math.sqrt(pairs) * effect
    critical = stats.t.ppf(1 - level / 2, free)

    def rejected(ratio: float) -> float:
        density = stats.chi.pdf(ratio * math.sqrt(free), free) * math.sqrt(free)
        return (stats.norm.sf(critical * ratio - shift) + stats.norm.cdf(-critical * ratio - shift)) * density

    highest = 1 + 10 / math.sqrt(free)
    return integrate.quad(rejected, 0, highest, epsabs=1e-12, limit=300, points=[min(1, abs(shift) / critical)])[0]


def test_power_of_many_cases_by_its_integral():
    generator = np.random.default_rng(0)
    for _ in range(300):
        pairs, effect = int(generator.integers(2, 60)), float(generator.normal(0, 1.5))
        level = float(generator.choice([0.01, 0.05, 0.2]))
        assert power_of(pairs, effect, level) == pytest.approx(by_integral(pairs, effect, level), abs=1e-8)


def test_power_counts_both_tails():
    """Without an effect both tails together are the level."""
    for pairs in (2, 5, 100):
        assert power_of(pairs, 0.0) == pytest.approx(0.05, rel=1e-9)
        assert power_of(pairs, -0.7) == power_of(pairs, 0.7)


def test_power_by_simulation():
    generator = np.random.default_rng(1)
    differences = generator.normal(1.2, 1, (40_000, 5))
    t = differences.mean(1) / (differences.std(1, ddof=1) / math.sqrt(5))
    assert power_of(5, 1.2) == pytest.approx((np.abs(t) > stats.t.ppf(0.975, 4)).mean(), abs=0.01)


def test_power_is_a_number_and_grows_with_the_effect_even_where_scipys_cdf_is_none():
    """scipy's noncentral t gives NaN in its far lower tail."""
    assert math.isnan(stats.nct.cdf(-stats.t.ppf(0.975, 4), 4, 10.0))
    for pairs in (2, 3, 5, 50, 5000):
        found = [power_of(pairs, effect) for effect in np.linspace(0, 60, 61)]
        assert all(0.04 < power <= 1 + 1e-12 for power in found)
        assert all(b >= a - 1e-12 for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(("effect", "pairs"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_pairs_of_the_usual_effects(effect: float, pairs: int):
    """Small, medium and large after Cohen, as power tables of the paired t-test have them."""
    assert pairs_needed(effect) == pairs


def test_pairs_needed_are_the_fewest():
    generator = np.random.default_rng(2)
    for effect in generator.uniform(0.05, 6, 200):
        found = pairs_needed(float(effect))
        assert found is not None
        assert power_of(found, effect) >= 0.8
        assert found == 2 or power_of(found - 1, effect) < 0.8
    assert pairs_needed(50.0) == 2


def test_no_number_of_pairs_shows_no_effect():
    assert pairs_needed(0.0) is None
    assert pairs_needed(1e-4) is None
    largest = pairs_needed(0.004)
    assert largest is not None
    assert 100_000 < largest <= MOST_PAIRS


def test_the_smallest_difference_is_shown_with_that_power():
    generator = np.random.default_rng(3)
    for _ in range(100):
        pairs, std = int(generator.integers(2, 40)), float(generator.uniform(0.001, 5))
        found = smallest_difference(pairs, std)
        assert power_of(pairs, found / std) == pytest.approx(0.8, abs=1e-9)
    assert smallest_difference(34, 1.0) == pytest.approx(0.495, abs=0.001)
    assert smallest_difference(5, 0.0) == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: power_of(1, 1.0), "found 1, expected at least 2"),
        (lambda: power_of(5, math.nan), "found nan, expected a finite"),
        (lambda: power_of(5, 1.0, level=0.0), "level: found 0.0, expected above 0"),
        (lambda: pairs_needed(math.inf), "found inf, expected a finite"),
        (lambda: pairs_needed(1.0, power=1.0), "power: found 1.0, expected above 0 and below 1"),
        (lambda: smallest_difference(5, -1.0), "found -1.0, expected at least 0"),
        (lambda: smallest_difference(1, 1.0), "found 1, expected at least 2"),
        (lambda: smallest_difference(5, 1.0, power=0.05), "power: found 0.05, expected above the level 0.05"),
    ],
)
def test_what_has_no_power_is_refused(call, words: str):
    with pytest.raises(ValueError, match=words):
        call()
