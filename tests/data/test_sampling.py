"""Mixing: shares by hand, every row seen, batches as asked for, and one set as it always was."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkd.config.mixing import Mixing, Ratio, RoundRobin, Size, Temperature
from mmkd.data.base import DataError
from mmkd.data.sampling import batches_per_epoch, epoch_rows, rows_per_epoch, training_batches

SIZES = {"mvsa": 400, "harm": 100, "wnut": 25}
ROUND_ROBIN = RoundRobin(kind="round_robin")


def temperature(value: float, **keys: int) -> Temperature:
    return Temperature(kind="temperature", temperature=value, **keys)


def ratio(rows: int | None = None, **shares: float) -> Ratio:
    return Ratio(kind="ratio", shares=shares, rows=rows)


def lengths_of(sizes: dict[str, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 40, sum(sizes.values()))


def set_of(sizes: dict[str, int]) -> np.ndarray:
    """The name of the set of each row of the corpus."""
    return np.repeat(list(sizes), list(sizes.values()))


def former_training_rows(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """`mmkd.data.batches.training_rows` as of commit f445688, before there was any mixing."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * 50):
        pool = order[start : start + batch_size * 50]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[i : i + batch_size] for i in range(0, len(pool), batch_size)]
    return [batches[i] for i in generator.permutation(len(batches))]


@pytest.mark.parametrize("sizes", [{"only": 997}, {"b": 600, "a": 397}])
@pytest.mark.parametrize("batch_size", [20, 32, 2000])  # one pool, then as now
@pytest.mark.parametrize("epoch", [0, 3])
def test_by_size_the_batches_are_those_of_before_bit_by_bit(sizes, batch_size, epoch):
    lengths = lengths_of(sizes)
    expected = former_training_rows(lengths, batch_size, 3, epoch)
    found = training_batches(lengths, sizes, batch_size, Size(), 3, epoch)
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        assert one.tolist() == other.tolist()


@pytest.mark.parametrize(
    ("batches", "pools"), [(1, 1), (50, 1), (51, 1), (74, 1), (76, 2), (120, 2), (126, 3), (130, 3), (320, 6)]
)
def test_pools_have_about_fifty_batches_and_equally_many(batches: int, pools: int):
    """Rows that all differ in length: a pool reads each length once, a small one in wide batches."""
    rows = batches * 32 - 5
    lengths = np.random.default_rng(1).permutation(rows)
    found = [np.sort(lengths[batch]) for batch in training_batches(lengths, {"only": rows}, 32, Size(), 3, 1)]
    assert max(sum(each[0] <= length <= each[-1] for each in found) for length in range(rows)) == pools
    assert max(each[-1] - each[0] for each in found) < 1.7 * 32 * pools


def test_one_set_is_read_alike_whether_its_batches_are_pure_or_mixed():
    lengths = lengths_of({"only": 97})
    expected = former_training_rows(lengths, 8, 1, 2)
    found = training_batches(lengths, {"only": 97}, 8, Size(batches="pure"), 1, 2)
    assert [batch.tolist() for batch in found] == [batch.tolist() for batch in expected]


@pytest.mark.parametrize(
    ("mixing", "expected"),
    [
        (Size(), {"mvsa": 400, "harm": 100, "wnut": 25}),
        # 21 of 525 rows: 16, 4 and 1.
        (Size(rows=21), {"mvsa": 16, "harm": 4, "wnut": 1}),
        # 22 rows: 16.76, 4.19, 1.05.
        (Size(rows=22), {"mvsa": 17, "harm": 4, "wnut": 1}),
        (temperature(1), {"mvsa": 400, "harm": 100, "wnut": 25}),
        # Roots 20, 10 and 5 of 35, of 525 rows.
        (temperature(2), {"mvsa": 300, "harm": 150, "wnut": 75}),
        # At most 100: roots 10, 10 and 5 of 25, of 525 rows.
        (temperature(2, limit=100), {"mvsa": 210, "harm": 210, "wnut": 105}),
        (temperature(1e9), {"mvsa": 175, "harm": 175, "wnut": 175}),
        (temperature(2, rows=7), {"mvsa": 4, "harm": 2, "wnut": 1}),
        (ratio(mvsa=2, harm=1, wnut=1, rows=400), {"mvsa": 200, "harm": 100, "wnut": 100}),
        # 10 rows: 3.33 each, the remaining row to the first by name.
        (ratio(mvsa=1, harm=1, wnut=1, rows=10), {"mvsa": 3, "harm": 4, "wnut": 3}),
        # Tenths are tenths: 0.5 + 1 + 3.5 rows; equal remainders of harm and wnut, and the one row goes to harm.
        (ratio(harm=0.1, mvsa=0.2, wnut=0.7, rows=5), {"mvsa": 1, "harm": 1, "wnut": 3}),
        (ROUND_ROBIN, {"mvsa": 175, "harm": 175, "wnut": 175}),
        (RoundRobin(kind="round_robin", rows=8), {"mvsa": 3, "harm": 3, "wnut": 2}),
    ],
)
def test_rows_per_epoch_by_hand(mixing: Mixing, expected: dict[str, int]):
    assert rows_per_epoch(SIZES, mixing) == expected
    assert {name: len(rows) for name, rows in epoch_rows(SIZES, mixing, 0, 5).items()} == expected


def test_the_order_of_the_sets_changes_no_share_and_no_row():
    for mixing in (Size(rows=100), temperature(3), ratio(mvsa=1, harm=1, wnut=1, rows=10), ROUND_ROBIN):
        backwards = dict(reversed(SIZES.items()))
        assert rows_per_epoch(backwards, mixing) == rows_per_epoch(SIZES, mixing)
        one, other = epoch_rows(SIZES, mixing, 4, 1), epoch_rows(backwards, mixing, 4, 1)
        assert all(one[name].tolist() == other[name].tolist() for name in SIZES)


def test_a_sets_rows_do_not_depend_on_the_other_sets():
    alone = epoch_rows({"harm": 100}, ratio(harm=1, rows=30), 7, 2)["harm"]
    beside = epoch_rows(SIZES, ratio(mvsa=1, harm=1, wnut=1, rows=90), 7, 2)["harm"]
    assert alone.tolist() == beside.tolist()


def test_each_pass_through_a_set_has_an_order_of_its_own():
    halves = [epoch_rows({"a": 100}, Size(rows=50), 0, epoch)["a"].tolist() for epoch in range(4)]
    assert sorted(halves[0] + halves[1]) == sorted(halves[2] + halves[3]) == list(range(100))
    assert halves[2] not in halves[:2]


def test_two_sets_of_one_size_do_not_share_their_order():
    rows = epoch_rows({"a": 100, "b": 100}, Size(rows=100), 0, 0)
    assert rows["a"].tolist() != rows["b"].tolist()


@given(
    sizes=st.dictionaries(st.sampled_from("abcde"), st.integers(1, 40), min_size=1),
    shares=st.lists(st.floats(0.05, 20), min_size=5, max_size=5),
    kind=st.sampled_from(["size", "temperature", "ratio", "round_robin"]),
    rows=st.none() | st.integers(1, 120),
    seed=st.integers(0, 5),
    epochs=st.integers(1, 12),
)
@settings(max_examples=60, deadline=None)
def test_over_epochs_no_row_is_read_more_than_once_more_than_another(sizes, shares, kind, rows, seed, epochs):
    mixing = {
        "size": Size(rows=rows),
        "temperature": temperature(1 + shares[0], rows=rows),
        "ratio": Ratio(kind="ratio", shares=dict(zip(sizes, shares, strict=False)), rows=rows),
        "round_robin": RoundRobin(kind="round_robin", rows=rows),
    }[kind]
    try:
        counts = rows_per_epoch(sizes, mixing)
    except DataError as error:
        assert "has no row of" in str(error)
        return
    assert sum(counts.values()) == (rows or sum(sizes.values()))
    seen = {name: Counter(dict.fromkeys(range(size), 0)) for name, size in sizes.items()}
    for epoch in range(epochs):
        for name, chosen in epoch_rows(sizes, mixing, seed, epoch).items():
            seen[name].update(chosen.tolist())
    for name, times in seen.items():
        assert times.keys() == set(range(sizes[name]))
        assert set(times.values()) <= {epochs * counts[name] // sizes[name], -(-epochs * counts[name] // sizes[name])}


def test_enough_epochs_read_every_row():
    mixing = ratio(mvsa=1, harm=2, wnut=1, rows=80)  # 20 of 400 rows an epoch
    union = {row for epoch in range(20) for row in epoch_rows(SIZES, mixing, 0, epoch)["mvsa"].tolist()}
    assert union == set(range(400))


@pytest.mark.parametrize("batches", ["mixed", "pure"])
@pytest.mark.parametrize("kind", ["size", "temperature", "ratio", "round_robin"])
def test_the_batches_hold_the_rows_of_the_epoch(kind: str, batches: str):
    keys = {"temperature": {"temperature": 3.0}, "ratio": {"shares": {"mvsa": 1.0, "harm": 2.0, "wnut": 3.0}}}
    model = {"size": Size, "temperature": Temperature, "ratio": Ratio, "round_robin": RoundRobin}[kind]
    pure = {"batches": "pure"} if kind == "round_robin" else {"batches": batches}
    mixing = model(kind=kind, rows=333, **pure, **keys.get(kind, {}))
    start = {"mvsa": 0, "harm": 400, "wnut": 500}
    for size in (1, 7, 32, 1000):
        found = training_batches(lengths_of(SIZES), SIZES, size, mixing, 2, 4)
        expected = [start[name] + row for name, rows in epoch_rows(SIZES, mixing, 2, 4).items() for row in rows]
        assert sorted(np.concatenate(found).tolist()) == sorted(expected)
        assert len(found) == batches_per_epoch(SIZES, size, mixing)
        assert max(map(len, found)) <= size


@pytest.mark.parametrize("mixing", [Size(batches="pure"), Size(batches="pure", rows=200), ROUND_ROBIN])
def test_pure_batches_are_of_one_set_and_mixed_ones_are_not(mixing: Mixing):
    names = set_of(SIZES)
    for batch in training_batches(lengths_of(SIZES), SIZES, 8, mixing, 0, 0):
        assert len(set(names[batch])) == 1
    mixed = training_batches(lengths_of(SIZES), SIZES, 8, Size(), 0, 0)
    assert any(len(set(names[batch])) > 1 for batch in mixed)


def test_pure_batches_of_the_sets_come_in_random_order():
    names = set_of(SIZES)
    order = [names[batch[0]] for batch in training_batches(lengths_of(SIZES), SIZES, 8, Size(batches="pure"), 0, 0)]
    changes = sum(one != other for one, other in pairwise(order))
    assert changes > 10  # set after set would be 2 changes


def test_round_robin_takes_the_sets_in_turn_and_leaves_no_row_out():
    names = set_of(SIZES)
    batches = training_batches(lengths_of(SIZES), SIZES, 10, ROUND_ROBIN, 0, 0)
    assert [names[batch[0]] for batch in batches] == ["harm", "mvsa", "wnut"] * 18  # 175 rows: 18 batches of each
    times = Counter(np.concatenate(batches).tolist())
    assert {times[row] for row in range(500, 525)} == {7}
    assert {times[row] for row in range(400, 500)} == {1, 2}
    # 7 rows of three sets: 3, 2, 2, in batches of 2: one set has a batch more, and it comes last.
    uneven = training_batches(lengths_of(SIZES), SIZES, 2, RoundRobin(kind="round_robin", rows=7), 0, 0)
    assert [names[batch[0]] for batch in uneven] == ["harm", "mvsa", "wnut", "harm"]


def test_round_robin_does_not_read_a_set_from_short_to_long():
    sizes = {"a": 400, "b": 400}
    lengths = lengths_of(sizes)
    batches = training_batches(lengths, sizes, 8, ROUND_ROBIN, 0, 0)
    longest = [lengths[batch].max() for batch in batches[::2]]
    assert longest != sorted(longest)
    alone = np.random.default_rng(1).permutation(800)
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 0.7 * sum(8 * lengths[alone[i : i + 8]].max() for i in range(0, 800, 8))


@pytest.mark.parametrize("mixing", [temperature(2), Size(batches="pure"), ROUND_ROBIN])
def test_only_seed_and_epoch_determine_the_batches(mixing: Mixing):
    def plan(seed: int, epoch: int) -> list[list[int]]:
        return [batch.tolist() for batch in training_batches(lengths_of(SIZES), SIZES, 16, mixing, seed, epoch)]

    before = plan(0, 0)
    np.random.seed(5)
    assert plan(0, 0) == before
    plans = [before, plan(0, 1), plan(1, 0), plan(1, 1)]
    assert all(one != other for i, one in enumerate(plans) for other in plans[:i])


@pytest.mark.parametrize("mixing", [Size(batches="pure"), ROUND_ROBIN])
def test_pure_batches_do_not_depend_on_the_order_of_the_sets(mixing: Mixing):
    backwards = dict(reversed(SIZES.items()))
    lengths = lengths_of(SIZES)
    turned = np.concatenate([lengths[500:], lengths[400:500], lengths[:400]])
    renumbered = np.concatenate([np.arange(125, 525), np.arange(25, 125), np.arange(25)])
    found = training_batches(lengths, SIZES, 8, mixing, 0, 0)
    other = training_batches(turned, backwards, 8, mixing, 0, 0)
    assert [renumbered[batch].tolist() for batch in found] == [batch.tolist() for batch in other]


def test_what_cannot_be_mixed_is_refused_all_at_once():
    with pytest.raises(DataError, match=r"data\.b: found no row to train on\ndata\.c: found no row"):
        rows_per_epoch({"a": 3, "b": 0, "c": 0}, Size())
    with pytest.raises(DataError) as caught:
        rows_per_epoch({"a": 3, "b": 3}, ratio(a=1, c=1))
    assert str(caught.value) == (
        "mixing.shares.c: unknown data set `c`; expected one of a, b\n"
        "mixing.shares: found no share for b; expected one for each data set"
    )
    with pytest.raises(DataError, match=r"`b` has no row of 10 an epoch; expected one or more: raise `mixing\.rows`"):
        rows_per_epoch({"a": 3, "b": 3}, ratio(a=100, b=1, rows=10))
    with pytest.raises(ValueError, match="found 4 lengths for sets of"):
        training_batches(np.arange(4), {"a": 3}, 2, Size(), 0, 0)
