"""Divisions: shares met in every stratum, groups kept whole, and nothing but ids and seed decides."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.model_selection import StratifiedGroupKFold

from mmkd.data.base import DataError
from mmkd.data.splitting import Division, assign, rounded

SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}


def names(count: int) -> list[str]:
    return [f"row{number}" for number in range(count)]


def divided(strata: list, shares: dict[str, float] = SHARES, seed: int = 0, groups: list | None = None) -> list[str]:
    return assign(names(len(strata)), groups or [None] * len(strata), strata, shares, seed)


def test_shares_of_every_stratum_by_hand():
    found = divided(["a"] * 50 + ["b"] * 30 + [None] * 20)
    assert Counter(found) == {"train": 80, "validation": 10, "test": 10}
    assert Counter(found[:50]) == {"train": 40, "validation": 5, "test": 5}
    assert Counter(found[50:80]) == {"train": 24, "validation": 3, "test": 3}
    assert Counter(found[80:]) == {"train": 16, "validation": 2, "test": 2}


def test_many_small_strata_do_not_all_round_to_the_largest_split():
    found = divided([number // 2 for number in range(200)])  # 100 strata of 2 rows: 1.6, 0.2 and 0.2
    assert Counter(found) == {"train": 160, "validation": 20, "test": 20}


@given(
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    weights=st.lists(st.integers(1, 10), min_size=2, max_size=4),
    seed=st.integers(0, 3),
)
@example(sizes=[4, 9], weights=[1, 1, 4, 6], seed=0)  # a third and a half, as floats
@settings(max_examples=40, deadline=None)
def test_without_groups_every_stratum_and_every_total_is_rounded_up_or_down(sizes, weights, seed):
    strata = [number for number, size in enumerate(sizes) for _ in range(size)]
    shares = {
        name: weight / sum(weights)
        for name, weight in zip(("train", "transfer", "validation", "test"), weights, strict=False)
    }
    try:
        found = divided(strata, shares, seed)
    except DataError as error:
        assert "would get none of" in str(error) or "groups for" in str(error)
        return
    for name, weight in zip(shares, weights, strict=True):
        total = Fraction(len(strata) * weight, sum(weights))
        assert found.count(name) in (math.floor(total), math.ceil(total))
        for stratum, size in enumerate(sizes):
            quota = Fraction(size * weight, sum(weights))
            count = sum(1 for one, split in zip(strata, found, strict=True) if (one, split) == (stratum, name))
            assert count in (math.floor(quota), math.ceil(quota))


def test_rounding_goes_back_where_the_largest_lag_leads_astray():
    # Row by row the largest lag takes columns 0, 1 and 2, which leaves 0 of 13/12 to column 3.
    quotas = {
        "x": [Fraction(1, 4)] * 4,
        "y": [Fraction(), *[Fraction(1, 3)] * 3],
        "z": [Fraction(), Fraction(), Fraction(1, 2), Fraction(1, 2)],
    }
    counts = rounded(quotas)
    assert all(sum(row) == 1 for row in counts.values())
    totals = [sum(column) for column in zip(*counts.values(), strict=True)]
    assert totals[0] <= 1
    assert totals[1] <= 1
    assert totals[2] in (1, 2)
    assert totals[3] in (1, 2)
    assert all(count == 0 for stratum, row in counts.items() for k, count in enumerate(row) if not quotas[stratum][k])


@given(
    rows=st.lists(st.lists(st.integers(0, 6), min_size=4, max_size=4).filter(any), min_size=1, max_size=8),
    sizes=st.lists(st.integers(1, 5), min_size=8, max_size=8),
)
@settings(max_examples=100, deadline=None)
def test_any_table_is_rounded_in_cells_rows_and_columns(rows, sizes):
    quotas = {
        number: [Fraction(size * each, sum(row)) for each in row]
        for number, (row, size) in enumerate(zip(rows, sizes, strict=False))
    }
    counts = rounded(quotas)
    for number, row in quotas.items():
        assert sum(counts[number]) == sum(row)
        assert all(abs(count - quota) < 1 for count, quota in zip(counts[number], row, strict=True))
    for k in range(4):
        assert abs(sum(row[k] for row in counts.values()) - sum(row[k] for row in quotas.values())) < 1


def grouped_rows(seed: int) -> tuple[list[str], list[str]]:
    """(groups, strata) of groups of 1 to 60 rows, each with a mix of three labels of its own."""
    generator = np.random.default_rng(seed)
    groups, strata = [], []
    for number in range(int(generator.integers(40, 200))):
        size = min(60, 1 + int(generator.geometric(0.15)))
        strata += generator.choice(["a", "b", "c"], size, p=generator.dirichlet([0.6, 0.3, 0.1])).tolist()
        groups += [f"author{number}"] * size
    return groups, strata


def imbalance(strata: list[str], splits: list[str], shares: dict[str, float]) -> float:
    """Mean distance of a stratum's part in a split from its share, as a fraction of that share."""
    found, sizes = Counter(zip(strata, splits, strict=True)), Counter(strata)
    return float(
        np.mean([abs(found[s, k] / (sizes[s] * share) - 1) for s in sorted(sizes) for k, share in shares.items()])
    )


def test_groups_stay_together_and_strata_are_as_even_as_those_of_scikit_learn():
    shares = {"train": 0.25, "transfer": 0.25, "validation": 0.25, "test": 0.25}
    ours, theirs = [], []
    for seed in range(12):
        groups, strata = grouped_rows(seed)
        found = divided(strata, shares, seed, groups)
        places = defaultdict(set)
        for group, split in zip(groups, found, strict=True):
            places[group].add(split)
        assert {len(splits) for splits in places.values()} == {1}
        folds = [""] * len(groups)
        for name, (_, rows) in zip(shares, StratifiedGroupKFold(4).split(strata, strata, groups), strict=True):
            for row in rows:
                folds[row] = name
        ours.append(imbalance(strata, found, shares))
        theirs.append(imbalance(strata, folds, shares))
    assert np.mean(ours) <= np.mean(theirs)
    assert max(ours) < 0.05


def test_unequal_shares_with_groups_are_nearly_met():
    for seed in range(5):
        groups, strata = grouped_rows(seed)
        assert imbalance(strata, divided(strata, SHARES, seed, groups), SHARES) < 0.1


def test_groups_of_rows_that_are_all_unlike_still_fill_every_split():
    # Each stratum of one row by itself fits the largest split best.
    found = divided([number / 7 for number in range(300)], SHARES, 0, [f"g{number // 3}" for number in range(300)])
    assert Counter(found) == {"train": 240, "validation": 30, "test": 30}


def test_many_strata_with_groups_leave_the_splits_their_sizes():
    strata = [number * 7919 % 3000 // 15 for number in range(3000)]  # 200 strata of 15 rows, in groups of 3 rows
    found = Counter(divided(strata, SHARES, 0, [f"g{number // 3}" for number in range(3000)]))
    assert abs(found["train"] - 2400) <= 15
    assert abs(found["test"] - 300) <= 15


def test_rows_without_a_group_make_up_for_the_groups():
    # One group of 30 is too large for 20% of 100 rows, so it trains; the rest is divided as if nothing had been.
    groups = ["large"] * 30 + [None] * 70
    found = divided(["a"] * 100, {"train": 0.8, "test": 0.2}, 3, groups)
    assert Counter(found[:30]) == {"train": 30}
    assert Counter(found) == {"train": 80, "test": 20}


def test_a_group_that_is_too_large_for_its_share_takes_nothing_from_the_other_rows():
    found = divided(["a"] * 100, {"train": 0.5, "test": 0.5}, 0, ["large"] * 90 + [None] * 10)
    assert len(set(found[:90])) == 1
    assert set(found[90:]) == {"train", "test"} - set(found[:90])


def test_a_group_and_a_row_of_the_same_name_are_two_things():
    found = {
        seed: assign(["x", "y", "z"], [None, "x", "x"], ["a"] * 3, {"train": 0.34, "test": 0.66}, seed)
        for seed in range(3)
    }
    assert all(splits == ["train", "test", "test"] for splits in found.values())


def test_rows_of_one_id_go_to_one_split():
    ids = [f"row{number // 2}" for number in range(100)]
    found = assign(ids, [None] * 100, ["a"] * 100, {"train": 0.5, "test": 0.5}, 0)
    assert found[::2] == found[1::2]


@pytest.mark.parametrize("with_groups", [False, True])
def test_neither_the_order_of_the_rows_nor_that_of_the_shares_matters(with_groups: bool):
    groups, strata = grouped_rows(1)
    ids = names(len(groups))
    groups = [group if with_groups and number % 3 else None for number, group in enumerate(groups)]
    found = dict(zip(ids, assign(ids, groups, strata, SHARES, 5), strict=True))
    order = np.random.default_rng(0).permutation(len(ids))
    turned = [[column[i] for i in order] for column in (ids, groups, strata)]
    assert dict(zip(turned[0], assign(*turned, dict(reversed(SHARES.items())), 5), strict=True)) == found
    assert dict(zip(ids, assign(ids, groups, strata, SHARES, 6), strict=True)) != found


SCRIPT = """
from mmkd.data.splitting import assign
labels = [frozenset({str(i % 3)}) for i in range(90)]
print(assign([str(i) for i in range(90)], [f"g{i // 4}" if i % 2 else None for i in range(90)], labels,
             {"train": 0.7, "test": 0.3}, 0))
"""


def test_the_hash_seed_of_python_does_not_matter():
    said = {
        subprocess.run(
            [sys.executable, "-c", SCRIPT],
            stdout=subprocess.PIPE,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1


def test_a_division_never_changes():
    """Written down by hand from the sha256 of `0 row row<n>`: the three lowest of eight come last by name, in train."""
    order = sorted(names(8), key=lambda name: hashlib.sha256(f"0 row {name}".encode()).hexdigest())
    found = dict(zip(names(8), divided(["a"] * 8, {"test": 0.625, "train": 0.375}), strict=True))
    assert [found[name] for name in order] == ["test"] * 5 + ["train"] * 3


@pytest.mark.parametrize(
    ("shares", "says"),
    [
        ({"train": 0.8, "test": 0.1}, r"sum to 0.9 \(0.8 \+ 0.1\); expected 1"),
        ({"train": 1.2, "test": -0.2}, "expected 1, each of at least 0.0001"),
        ({"train": 0.99999, "test": 0.00001}, "expected 1, each of at least 0.0001"),
        ({}, "found shares that sum to 0"),
        ({"train": 0.99, "test": 0.01}, "test would get none of 10 rows; expected one or more: raise the share"),
    ],
)
def test_shares_that_cannot_be_are_refused(shares, says):
    with pytest.raises(DataError, match=says):
        divided(["a"] * 10, shares)


def test_fewer_groups_than_splits_are_refused():
    with pytest.raises(DataError, match="found 2 groups for 3 splits"):
        divided(["a"] * 20, SHARES, 0, ["one"] * 10 + ["two"] * 10)
    with pytest.raises(DataError, match="found 0 groups for 3 splits"):
        divided([])
    with pytest.raises(ValueError, match="found 2 ids, 1 groups, 2 strata"):
        assign(["a", "b"], [None], ["x", "y"], SHARES, 0)


def test_thirds_may_be_written_with_six_digits():
    thirds = {"train": 0.333333, "validation": 0.333333, "test": 0.333333}
    assert set(Counter(divided(["a"] * 999, thirds)).values()) == {333}
    assert Division.model_validate({"of": "train", "shares": thirds}).shares == thirds


def test_the_section_says_what_it_expects():
    good = Division.model_validate({"of": "train", "shares": SHARES, "stratify": "sentiment"})
    assert (good.seed, good.keep_groups) == (0, True)
    for wrong, says in (
        ({"of": "train", "shares": {"train": 0.5, "test": 0.4}}, r"sum to 0.9 \(0.5 \+ 0.4\); expected 1"),
        ({"of": "train", "shares": {"train": 1.0}}, "at least 2"),
        ({"of": "dev", "shares": SHARES}, "of"),
        ({"of": "train", "shares": {"train": 0.5, "dev": 0.5}}, "dev"),
        ({"of": "train", "shares": SHARES, "seed": -1}, "seed"),
    ):
        with pytest.raises(ValidationError, match=says):
            Division.model_validate(wrong)
