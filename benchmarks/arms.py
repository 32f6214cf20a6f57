"""The arms by name: how each is built, what it is compared with, and what it needs installed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.workload import Workload

SEEDS = 8
"""Students that share one cache."""

Mark = Callable[[], None]


class Arm(Protocol):
    """One way of doing the work, built up to its first step.

    first_loss: the objective at the first step, once it was taken; NaN where nothing is trained.
    """

    first_loss: float

    def run(self, epochs: int, mark: Mark) -> int:
        """Do the work; call `mark` before the first epoch and after each. Returns the rows worked on."""
        ...


@dataclass(frozen=True)
class Entry:
    """what: a line for people. floor: the arm that it is divided by. build: from the workload and a shared folder."""

    what: str
    floor: str
    build: Callable[[Workload, Path], Arm]
    package: str | None = None


class Epochs:
    """An arm of a peer, which does one epoch at a time."""

    def __init__(self, peer: Any) -> None:
        """peer: has `epoch(number)`, which returns the rows worked on."""
        self._peer, self.first_loss = peer, math.nan

    def run(self, epochs: int, mark: Mark) -> int:
        """Every epoch in turn."""
        rows = 0
        mark()
        for number in range(epochs):
            rows += self._peer.epoch(number)
            mark()
        self.first_loss = float(self._peer.first_loss)
        return rows


class Once:
    """Work that is measured as a whole."""

    def __init__(self, work: Callable[[int], int]) -> None:
        """work: from the number of epochs that there would be; returns the rows worked on."""
        self._work, self.first_loss = work, math.nan

    def run(self, epochs: int, mark: Mark) -> int:
        """The work, between two marks."""
        mark()
        rows = self._work(epochs)
        mark()
        return rows


def _ours(
    teaching: str, text_only: bool = False, diagnose_every: int | None = None, saves: bool = False
) -> Callable[[Workload, Path], Arm]:
    def build(workload: Workload, folder: Path) -> Arm:
        from benchmarks.ours import Ours

        return Ours(workload, teaching, text_only, folder / ("text" if text_only else "pairs"), diagnose_every, saves)

    return build


def _teachers(build_cache: bool) -> Callable[[Workload, Path], Arm]:
    def build(workload: Workload, folder: Path) -> Arm:
        from benchmarks.ours import Ours

        ours = Ours(workload, "live", False, folder / "pairs")
        return Once(lambda epochs: ours.build_cache() if build_cache else ours.teacher_forward())

    return build


def _seeds(teaching: str) -> Callable[[Workload, Path], Arm]:
    def build(workload: Workload, folder: Path) -> Arm:
        from benchmarks.ours import Ours

        ours = Ours(workload, teaching, False, folder / "pairs")
        return Once(lambda epochs: ours.run_seeds(SEEDS, epochs) // (SEEDS * epochs))

    return build


def _peer(module: str, name: str) -> Callable[[Workload, Path], Arm]:
    def build(workload: Workload, folder: Path) -> Arm:
        from importlib import import_module

        return Epochs(getattr(import_module(f"benchmarks.peers.{module}"), name)(workload, 0))

    return build


ARMS: dict[str, Entry] = {
    "floor": Entry("mmkd, student alone", "floor", _ours("none")),
    "plain_floor": Entry("plain loop, student alone, buckets", "floor", _peer("plain", "student_alone_bucketed")),
    "ours_cached": Entry("mmkd, teachers from the cache", "floor", _ours("cached")),
    "ours_diagnosed": Entry(
        "mmkd, cached, with its diagnostics as they are by default", "floor", _ours("cached", diagnose_every=100)
    ),
    "ours_saving": Entry("mmkd, cached, with a checkpoint after each epoch", "floor", _ours("cached", saves=True)),
    "ours_live": Entry("mmkd, live teachers", "floor", _ours("live")),
    "hf_grouped": Entry("HF Trainer, grouped by length", "floor", _peer("hf_trainer", "grouped")),
    "hf_default": Entry("HF Trainer, its default", "floor", _peer("hf_trainer", "default")),
    "live_random": Entry("plain loop, live, random batches", "floor", _peer("plain", "live_random")),
    "tutorial": Entry("the tutorial way: live, padded to 128", "floor", _peer("plain", "tutorial")),
    "torchdistill": Entry(
        "torchdistill with its cache", "floor", _peer("torchdistill", "cached"), package="torchdistill"
    ),
    "teacher_forward": Entry("the teachers' bare forward passes", "teacher_forward", _teachers(build_cache=False)),
    "cache_build": Entry("mmkd, building the cache", "teacher_forward", _teachers(build_cache=True)),
    "seeds_apart": Entry(f"the teachers' bare passes once, and {SEEDS} students alone", "seeds_apart", _seeds("live")),
    "seeds_cached": Entry(f"mmkd, {SEEDS} seeds that share one cache", "seeds_apart", _seeds("cached")),
    "floor_text": Entry("mmkd, student alone, text only", "floor_text", _ours("none", text_only=True)),
    "ours_text_cached": Entry("mmkd, text teacher from the cache", "floor_text", _ours("cached", text_only=True)),
    "textbrewer": Entry(
        "TextBrewer, text only, its cache", "floor_text", _peer("textbrewer", "cached"), package="textbrewer"
    ),
}
