"""Statistics against scipy, against the definition, and by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mmkd.report.statistics import holm, paired_t, summary

VALUES = [0.71, 0.74, 0.69, 0.80]
OTHERS = [0.65, 0.70, 0.70, 0.72]


def test_summary_agrees_with_numpy_and_scipy() -> None:
    found = summary(VALUES)
    low, high = stats.t.interval(0.95, len(VALUES) - 1, loc=np.mean(VALUES), scale=stats.sem(VALUES))
    assert found.n == 4
    assert found.mean == pytest.approx(np.mean(VALUES), rel=1e-14)
    assert found.std == pytest.approx(np.std(VALUES, ddof=1), rel=1e-14)
    assert found.median == np.median(VALUES)
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-12)


def test_summary_of_two_by_hand() -> None:
    # t(1) at 0.975 is tan(0.475 pi); std of 1 and 3 is sqrt 2, so that the margin is tan(0.475 pi) * 1.
    found = summary([1.0, 3.0])
    assert found.std == pytest.approx(math.sqrt(2))
    assert found.high == pytest.approx(2 + math.tan(0.475 * math.pi))


def test_one_value_has_no_spread() -> None:
    found = summary([0.5])
    assert (found.n, found.mean, found.std, found.low, found.high) == (1, 0.5, None, None, None)


@pytest.mark.parametrize("values", [[], [0.1, math.nan], [math.inf]])
def test_summary_refuses_what_it_cannot_summarise(values: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        summary(values)


@given(st.permutations([0.1, 0.2, 0.3, 0.7, 1e-9]))
def test_summary_does_not_depend_on_order(values: list[float]) -> None:
    assert summary(values) == summary(sorted(values))


def test_paired_t_agrees_with_scipy() -> None:
    found = paired_t(VALUES, OTHERS)
    expected = stats.ttest_rel(VALUES, OTHERS)
    interval = expected.confidence_interval(0.95)
    assert found is not None
    assert (found.t, found.p) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert found.n == 4
    assert found.difference == pytest.approx(0.0425)


def test_paired_t_needs_two_pairs() -> None:
    assert paired_t([0.7], [0.6]) is None
    assert paired_t([], []) is None


@pytest.mark.parametrize(("a", "b"), [([0.5, 0.7], [0.5, 0.7]), ([0.3, 0.2, 0.9], [0.2, 0.1, 0.8])])
def test_equal_differences_give_no_p(a: list[float], b: list[float]) -> None:
    """In the second case the differences are equal but for rounding; scipy's t of them is about 1e15."""
    found = paired_t(a, b)
    assert found is not None
    assert found.difference == pytest.approx(a[0] - b[0])
    assert (found.low, found.high, found.t, found.p) == (None, None, None, None)


def test_small_but_real_spread_is_tested() -> None:
    found = paired_t([0.5 + 1e-9, 0.5, 0.5], [0.4, 0.4, 0.4])
    assert found is not None
    assert found.p is not None


@pytest.mark.parametrize(
    ("a", "b"), [([1.0, 2.0], [1.0]), ([1.0, math.nan], [1.0, 2.0]), ([1.0, 2.0], [1.0, math.inf])]
)
def test_paired_t_refuses(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        paired_t(a, b)


def test_holm_by_hand() -> None:
    # Sorted 0.01, 0.03, 0.04: times 3, 2, 1 is 0.03, 0.06, 0.04; the last may not be below the one before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for level in (0.01, 0.05, 0.3):
        rejected = set()
        for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
            if (len(p_values) - rank) * p_values[i] > level:
                break
            rejected.add(i)
        assert {i for i, p in enumerate(adjusted) if p <= level} == rejected


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_holm_refuses_what_is_no_p_value(p: float) -> None:
    with pytest.raises(ValueError, match="expected 0 to 1"):
        holm([0.1, p])
