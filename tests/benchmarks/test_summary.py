"""From measurements to a table: the arithmetic, on numbers made up for it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.arms import ARMS
from benchmarks.summary import cells, lines, markdown


def found(arm: str, *cpu: float, memory: int = 10**9) -> dict[str, Any]:
    """100 rows in each epoch."""
    return {
        "arm": arm,
        "rows": 100 * len(cpu),
        "cpu": list(cpu),
        "wall": [2 * each for each in cpu],
        "peak_memory": memory,
    }


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
    assert live.memory == 3 * 10**9


def test_work_that_is_done_once_is_compared_with_its_own_floor():
    built = lines(MEASURED)[-1]
    assert (built.arm, built.ratio[0]) == ("cache_build", pytest.approx(1.2))


def test_an_arm_without_its_floor_has_no_line():
    assert lines([found("ours_live", 1.0)]) == []


def test_the_page_holds_every_line_and_where_it_was_measured():
    text = markdown(lines(MEASURED), {"name": "made up", "processor": "none"})
    assert "- processor: none" in text
    assert f"| ours_live | {ARMS['ours_live'].what} | 45.00 | 85.00 | 90.00 | 3.500 | 2.000 to 5.000 | 3,000 |" in text
    assert len(cells(lines(MEASURED)[0])) == 8


def test_every_floor_is_an_arm():
    assert {entry.floor for entry in ARMS.values()} <= set(ARMS)
