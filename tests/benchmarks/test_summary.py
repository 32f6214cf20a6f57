"""From measurements to a table: the arithmetic, on numbers made up for it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.arms import ARMS
from benchmarks.summary import PROMISES, kept, lines, markdown


def found(arm: str, *cpu: float, memory: int = 10**9) -> dict[str, Any]:
    """100 rows in each epoch."""
    peaks = [9 * memory, *[memory] * (len(cpu) - 1)]
    wall = [2 * each for each in cpu]
    return {"arm": arm, "rows": 100 * len(cpu), "cpu": list(cpu), "wall": wall, "peak_memory": peaks, "first_loss": 2.5}


MEASURED = [
    found("floor", 9.0, 1.0, 1.0),
    found("ours_live", 9.0, 4.0, 6.0, memory=3 * 10**9),
    found("floor", 9.0, 2.0, 2.0),
    found("ours_live", 8.0, 4.0, 4.0),
    found("teacher_forward", 5.0),
    found("cache_build", 6.0),
]


def test_ratios_are_taken_within_a_repeat_and_leave_the_first_epoch_out():
    floor, live = lines(MEASURED)[:2]
    assert (floor.arm, floor.later, floor.ratio) == ("floor", pytest.approx(15.0), (1.0, 1.0, 1.0))
    # 50 against 10 ms, then 40 against 20 ms
    assert (live.arm, live.ratio) == ("ours_live", pytest.approx((3.5, 2.0, 5.0)))
    assert (live.first, live.later, live.wall) == pytest.approx((85.0, 45.0, 90.0))
    assert live.memory == 3 * 10**9  # not what the first epoch held


def test_work_that_is_done_once_is_compared_with_its_own_floor():
    built = lines(MEASURED)[-1]
    assert (built.arm, built.ratio[0]) == ("cache_build", pytest.approx(1.2))


def test_an_arm_without_its_floor_has_no_line():
    assert lines([found("ours_live", 1.0)]) == []


def test_the_page_holds_every_line_and_where_it_was_measured():
    text = markdown(MEASURED, {"name": "made up", "processor": "none"})
    assert "- processor: none" in text
    assert "| ours_live | 45.00 | 85.00 | 90.00 | 3.500 | 2.000–5.000 | 3,000 | 2.500 |" in text
    assert f"- ours_live: {ARMS['ours_live'].what}" in text
    assert "| the cache costs what bare passes cost | 1.200 | 1.200–1.200 | ≤ 1.1 | no |" in text


CACHED = [found("ours_cached", 99.0, 0.5), found("ours_cached", 99.0, 2.5, memory=2 * 10**9)]


def test_promises_are_judged_by_the_median_of_the_repeats():
    by_name = {row[0]: row[1:] for row in kept([*MEASURED, *CACHED])}
    # 10 and 20 ms of the floor against 5 and 25; 50 and 40 ms of the live teachers
    assert by_name["a cached epoch costs what the student costs"] == ("0.875", "0.500–1.250", "≤ 1.05", "yes")
    assert by_name["live teachers cost more than cached ones"] == ("5.800", "1.600–10.000", "≥ 4", "yes")
    assert by_name["a cached run holds what the student holds"] == ("1.500", "1.000–2.000", "≤ 1.1", "open")
    assert "HF Trainer grouped by length costs more" not in by_name  # it was not measured


def test_every_promise_is_about_arms():
    assert {name for promise in PROMISES for name in (promise.arm, promise.other)} <= set(ARMS)


def test_every_floor_is_an_arm():
    assert {entry.floor for entry in ARMS.values()} <= set(ARMS)
