"""Sign flips and signed ranks against a walk over all flips, against scipy, and under the null hypothesis."""

import itertools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from mmkd.report.statistics import signs
from mmkd.report.statistics.signs import SignTest, sign_flip, signed_rank, smallest_p

Pairs = tuple[list[int], list[int]]


def random_pairs(cases: int, largest: int, seed: int) -> Iterator[Pairs]:
    """Whole numbers with many ties and zeros among their differences; n from 1."""
    generator = np.random.default_rng(seed)
    for _ in range(cases):
        n = int(generator.integers(1, largest + 1))
        spread = int(generator.integers(1, 12))
        yield tuple(generator.integers(0, spread + 1, (2, n)).tolist())


def by_enumeration(sizes: list[Fraction], positive: list[bool]) -> Fraction:
    """Share of all flips whose sum is at least as far from 0 as that of these signs."""
    observed = abs(sum(size if sign else -size for size, sign in zip(sizes, positive, strict=True)))
    flips = list(itertools.product((1, -1), repeat=len(sizes)))
    sums = [abs(sum(s * size for s, size in zip(flip, sizes, strict=True))) for flip in flips]
    return Fraction(sum(each >= observed for each in sums), len(flips))


def mean_ranks(sizes: list[int]) -> list[Fraction]:
    return [
        Fraction(sum(other < size for other in sizes)) + Fraction(sum(other == size for other in sizes) + 1, 2)
        for size in sizes
    ]


def test_sign_flips_of_a_thousand_cases_by_enumeration():
    """In tenths, whose sums and differences are rounded."""
    for a, b in random_pairs(1000, 8, seed=0):
        differences = [x - y for x, y in zip(a, b, strict=True)]
        expected = by_enumeration([Fraction(abs(d)) for d in differences], [d > 0 for d in differences])
        found = sign_flip([x / 10 for x in a], [y / 10 for y in b])
        assert found.p == float(expected), (a, b)
        assert (found.n, found.exact) == (len(a), True)
        assert found.floor == smallest_p(sum(d != 0 for d in differences))


def test_signed_ranks_of_a_thousand_cases_by_enumeration():
    for a, b in random_pairs(1000, 8, seed=1):
        differences = [x - y for x, y in zip(a, b, strict=True) if x != y]
        ranks = mean_ranks([abs(d) for d in differences])
        expected = by_enumeration(ranks, [d > 0 for d in differences])
        found = signed_rank([x / 10 for x in a], [y / 10 for y in b])
        assert found.p == pytest.approx(float(expected), rel=1e-12), (a, b)
        assert found.floor == smallest_p(len(differences))


def test_signed_ranks_agree_with_scipy_where_it_is_exact():
    generator = np.random.default_rng(2)
    for n in [*range(2, 31)] * 4:
        a, b = generator.normal(size=(2, n)) + np.array([[0.4], [0.0]])
        expected = stats.wilcoxon(a, b, method="exact").pvalue
        assert signed_rank(a.tolist(), b.tolist()).p == pytest.approx(expected, rel=1e-12)


def test_sign_flips_agree_with_scipy():
    generator = np.random.default_rng(3)
    for n in [*range(2, 11)] * 5:
        a, b = generator.normal(size=(2, n)) + np.array([[0.4], [0.0]])
        expected = stats.permutation_test(
            (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
        )
        assert sign_flip(a.tolist(), b.tolist()).p == pytest.approx(expected.pvalue, rel=1e-12)


@pytest.mark.parametrize("test", [sign_flip, signed_rank])
@pytest.mark.parametrize("sizes", [[1.0, 2.0, 4.0, 8.0, 16.0], [1.0, 1.0, 2.0, 2.0], [0.0, 3.0, 0.0, 5.0, 7.0]])
def test_under_the_null_p_is_never_too_small(test: Callable[..., SignTest], sizes: list[float]):
    """Over all signs of the same sizes: p is at most x in just a share x of the cases, where x is attained."""
    found = [
        test([s * size for s, size in zip(flip, sizes, strict=True)], [0.0] * len(sizes)).p
        for flip in itertools.product((1, -1), repeat=len(sizes))
    ]
    below = 0
    for p, count in sorted(Counter(found).items()):
        below += count
        assert below / len(found) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize("n", range(1, 11))
def test_no_p_is_below_the_floor_and_all_on_one_side_reach_it(n: int):
    one_side = [float(i) for i in range(1, n + 1)]
    for test in (sign_flip, signed_rank):
        found = test(one_side, [0.0] * n)
        assert found.p == found.floor == smallest_p(n) == 2 / 2**n


def test_five_seeds_never_show_less_than_a_sixteenth():
    assert sign_flip([1.0] * 5, [0.0, 0.1, 0.2, 0.3, 0.4]).p == 0.0625
    assert smallest_p(5) == 0.0625
    assert smallest_p(6) < 0.05


@pytest.mark.parametrize("test", [sign_flip, signed_rank])
def test_equal_pairs_show_nothing(test: Callable[..., SignTest]):
    assert test([0.5, 0.7], [0.5, 0.7]) == SignTest(2, 1.0, 1.0, exact=True)
    assert test([0.5], [0.4]) == SignTest(1, 1.0, 1.0, exact=True)


def test_differences_that_rounding_makes_unequal_are_ties():
    """0.3 - 0.2 is above 0.1, 0.9 - 0.8 below; without a tolerance the ranks would differ, and here so would p."""
    a, b = [0.3, 0.8, 0.2, 0.5], [0.2, 0.9, 0.1, 0.2]
    ranks = [Fraction(2), Fraction(2), Fraction(2), Fraction(4)]
    assert signed_rank(a, b).p == float(by_enumeration(ranks, [True, False, True, True]))


def drawn_chance(sizes: list[int], at_least: int) -> float:
    """Two-sided p of the flips of whole numbers, from their exact distribution."""
    ways = Counter({0: 1})
    for size in sizes:
        step: Counter[int] = Counter()
        for total, count in ways.items():
            step[total + size] += count
            step[total - size] += count
        ways = step
    return sum(count for total, count in ways.items() if abs(total) >= at_least) / 2 ** len(sizes)


def test_drawn_flips_come_close_to_the_exact_p():
    generator = np.random.default_rng(4)
    for _ in range(10):
        differences = generator.integers(-3, 6, 30)
        exact = drawn_chance(np.abs(differences).tolist(), abs(int(differences.sum())))
        found = sign_flip(differences.astype(float).tolist(), [0.0] * 30, generator)
        assert found.exact is bool((differences != 0).sum() <= signs.EXACT_PAIRS)
        assert abs(found.p - exact) < 5 * math.sqrt(exact * (1 - exact) / signs.DRAWS) + 2e-4


def test_drawn_flips_count_the_observed_one():
    """All 30 on one side: no drawn flip is as far, and p is 1 / (draws + 1), which is its floor, and never 0."""
    found = sign_flip([1.0] * 30, [0.0] * 30, np.random.default_rng(5), draws=99)
    assert found == SignTest(30, 0.01, 0.01, exact=False)


def test_drawn_flips_have_a_uniform_p_under_the_null():
    """With 19 draws the p of a flip that is drawn too is i / 20, each as likely: at most 0.05 in one case of 20."""
    generator = np.random.default_rng(6)
    found = np.array(
        [sign_flip(generator.normal(size=21).tolist(), [0.0] * 21, generator, draws=19).p for _ in range(4000)]
    )
    counts = np.bincount(np.rint(20 * found).astype(int), minlength=21)[1:]
    assert stats.chisquare(counts).pvalue > 1e-3
    assert (found <= 0.05).mean() == pytest.approx(0.05, abs=0.015)


def test_the_same_seed_gives_the_same_p():
    a, b = np.random.default_rng(7).normal(size=(2, 25)).tolist()
    first, again = (sign_flip(a, b, np.random.default_rng(0), draws=50) for _ in range(2))
    assert first == again


def test_many_pairs_without_a_generator_are_refused():
    with pytest.raises(ValueError, match=r"21 differences other than 0: above 20 .* expected numpy.random.default_rng"):
        sign_flip([1.0] * 21, [0.0] * 21)


@pytest.mark.parametrize("test", [sign_flip, signed_rank])
@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ([], [], "found 0, expected at least 1"),
        ([1.0], [1.0, 2.0], "found 1 and 2, expected as many"),
        ([1.0, math.nan], [1.0, 2.0], "found nan, expected a finite"),
        ([1.0, 2.0], [math.inf, 2.0], "found inf, expected a finite"),
    ],
)
def test_what_cannot_be_tested_is_refused(test: Callable[..., SignTest], a: list[float], b: list[float], words: str):
    with pytest.raises(ValueError, match=words):
        test(a, b)
