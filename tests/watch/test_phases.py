"""Phases and the stopwatch, on a loop that is written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import mmkd.watch.stopwatch as stopwatch
from mmkd.watch.phases import Phases
from mmkd.watch.stopwatch import Stopwatch

BATCH = ("student", "losses", "backward", "bookkeeping", "optimizer")


def test_batches_are_counted_when_they_are_done() -> None:
    seen: list[tuple[str, int]] = []
    phases = Phases(lambda phase, done: seen.append((phase, done)))
    for phase in ("loading", *BATCH, "loading", *BATCH, "loading", "evaluation", "bookkeeping", "loading", *BATCH):
        phases(phase)
    phases("loading")
    assert [done for phase, done in seen if phase == "loading"] == [0, 1, 2, 2, 3]
    assert [done for phase, done in seen if phase == "student"] == [0, 1, 2]


def test_a_teacher_interrupts_the_phase_in_which_it_is_asked() -> None:
    seen: list[str] = []
    phases = Phases(lambda phase, done: seen.append(phase))
    inner = nn.Identity()
    outer = nn.Sequential(inner)  # a teacher that asks another
    with phases.with_teachers([outer, inner]):
        phases("student")
        outer(torch.ones(1))
        phases("losses")
    outer(torch.ones(1))  # nobody listens any more
    assert seen == ["student", "teachers", "teachers", "teachers", "student", "losses"]


def test_a_teacher_that_fails_is_not_waited_for() -> None:
    seen: list[str] = []
    phases = Phases(lambda phase, done: seen.append(phase))
    teacher = nn.Linear(2, 2)
    with phases.with_teachers([teacher]):
        phases("student")
        with pytest.raises(RuntimeError):
            teacher(torch.ones(1, 3))
    assert seen == ["student", "teachers", "student"]


def test_each_second_belongs_to_one_phase(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 11.0, 13.0, 16.0, 20.0])
    monkeypatch.setattr(stopwatch.time, "perf_counter", lambda: next(times))
    watch = Stopwatch(torch.device("cpu"))
    for phase in ("loading", "student", "loading", "", "student"):
        watch.begin(phase)
    assert watch.seconds == {"loading": 1.0 + 3.0, "student": 2.0}
