"""The workload has the lengths and the padding that the benchmark states."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.peers.plain import bucketed_batches, random_batches
from benchmarks.workload import IGNORED, Workload, make_workload

PAIRS = 2048


@pytest.fixture(scope="module")
def workload() -> Workload:
    return make_workload(PAIRS)


def lengths_of(workload: Workload) -> list[int]:
    return [len(ids) for ids in workload.ids]


def padded(batches: list[list[int]], lengths: list[int]) -> float:
    """Padded over valid sub-tokens."""
    return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches) / sum(lengths)


def test_lengths_are_log_normal_around_20(workload: Workload):
    lengths = np.array(lengths_of(workload))
    assert np.median(lengths) == pytest.approx(20, abs=1)
    assert lengths.mean() == pytest.approx(24.2, abs=0.8)
    assert np.quantile(lengths, [0.9, 0.99]) == pytest.approx([46, 87], rel=0.08)
    assert (lengths.min(), lengths.max()) == (4, 128)


def test_padding_costs_what_the_benchmark_says(workload: Workload):
    lengths, generator = lengths_of(workload), np.random.default_rng(0)
    assert PAIRS * 128 / sum(lengths) == pytest.approx(5.28, rel=0.04)
    assert padded(random_batches(lengths, 32, generator), lengths) == pytest.approx(3.14, rel=0.05)
    assert padded(bucketed_batches(lengths, 32, generator), lengths) == pytest.approx(1.09, rel=0.04)


def test_labels_go_with_the_words_and_most_are_o(workload: Workload):
    for ids, tags in zip(workload.ids, workload.ner, strict=True):
        assert (ids[0], ids[-1], tags[0], tags[-1]) == (101, 102, IGNORED, IGNORED)
        assert len(ids) == len(tags)
    inner = np.concatenate([tags[1:-1] for tags in workload.ner])
    assert (inner == 0).mean() == pytest.approx(0.85, abs=0.01)
    assert set(np.unique(inner)) == set(range(9))


def test_the_seed_determines_it():
    one, again, other = make_workload(5), make_workload(5), make_workload(5, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(one.ids, again.ids, strict=True))
    assert np.array_equal(one.images, again.images)
    assert not np.array_equal(one.images, other.images)
