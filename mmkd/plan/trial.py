"""A few real steps of the training loop, on networks that are thrown away: how long they take, what they compute."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn

from mmkd.config.experiment import Train
from mmkd.config.mixing import Mixing
from mmkd.data.corpus import Corpus
from mmkd.encoders.vocabulary import learn_all
from mmkd.train import BY_SIZE, Players, train
from mmkd.watch.flops import FlopCount
from mmkd.watch.phases import Phases
from mmkd.watch.stopwatch import Stopwatch

WARM_UP, TIMED, COUNTED = 3, 10, 3
"""Batches that only warm up, that are timed, and whose operations are counted (which takes time itself)."""


@dataclass(frozen=True)
class Trial:
    """Means over the batches tried. seconds, flops: by phase, of a sample; seconds is empty when none was timed.

    trained: bytes of each parameter that learns. peak: largest memory of the accelerator in bytes; None on a CPU.
    """

    trained: list[int]
    seconds: dict[str, float]
    flops: dict[str, float]
    batches: int
    peak: int | None


def try_training(
    players: Players,
    corpus_of: Callable[[int], Corpus],
    validation: Corpus,
    settings: Train,
    seed: int,
    accelerator: Accelerator,
    timed: bool,
    progress: Callable[[int, int], None],
    mixing: Mixing = BY_SIZE,
    new_words: bool = False,
) -> Trial:
    """Train for a few batches: those that a run would begin with. The players are changed, nothing else is.

    Live teachers are asked in this process, so that their time can be told from the student's.
    timed: also measure how long it takes. progress: called with batches done, in all.
    """
    trial = _Watcher(accelerator.device, WARM_UP if timed else 0, TIMED if timed else 0, progress)
    phases = Phases(trial.begin)
    here = settings.live.model_copy(update={"process": False})
    enough = settings.model_copy(update={"epochs": settings.epochs + trial.last, "patience": None, "live": here})
    cuda = accelerator.device.type == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats(accelerator.device)
    with tempfile.TemporaryDirectory() as folder, trial.counting, phases.with_teachers(players.teachers.values()):
        hook = players.network.register_forward_pre_hook(trial.see)
        try:
            own = (validation, enough, seed, accelerator, Path(folder), mixing)
            train(players, corpus_of, *own, watch=phases, new_words=new_words)
        except _Enough:
            pass
        finally:
            hook.remove()
            trainees = nn.ModuleList([players.network, players.terms, players.weighting])
            trained = [p.numel() * p.element_size() for p in trainees.parameters() if p.requires_grad]
            learn_all(players.network)
    peak = torch.cuda.max_memory_allocated(accelerator.device) if cuda else None
    return Trial(
        trained,
        _each(trial.stopwatch.seconds, trial.timed_rows),
        _each(trial.flops.flops, trial.rows),
        trial.timed,
        peak,
    )


def _each(sums: Mapping[str, float], rows: int) -> dict[str, float]:
    return {name: value / rows for name, value in sums.items()} if rows else {}


class _Enough(Exception):
    """Leaves the loop."""


class _Watcher:
    """Warms up, then times, then counts, then leaves."""

    def __init__(self, device: torch.device, warm_up: int, timed: int, progress: Callable[[int, int], None]) -> None:
        self.timed = timed
        self.last = warm_up + timed + COUNTED
        self.stopwatch, self.flops = Stopwatch(device), FlopCount()
        self.counting = ExitStack()  # closed outside the loop, which is left by an exception
        self.rows = self.timed_rows = 0
        self._warm_up, self._progress, self._done, self._last_seen = warm_up, progress, 0, -1
        self._counts = False

    def begin(self, phase: str, done: int) -> None:
        if done > self._done or done == 0:
            self._progress(done, self.last)
        self._done = done
        inside = phase if phase != "evaluation" else ""
        if self._warm_up <= done < self._warm_up + self.timed:
            self.stopwatch.begin(inside)
            return
        self.stopwatch.begin("")
        if done == self.last:
            raise _Enough
        if done == self._warm_up + self.timed and not self._counts:
            self.counting.enter_context(self.flops)
            self._counts = True
        if self._counts:
            self.flops.begin(inside)

    def see(self, network: Any, arguments: tuple[Any, ...]) -> None:
        """Count the rows of a batch that the network is given while it trains, in one pass or several."""
        if not network.training or self._done == self._last_seen:
            return
        self._last_seen = self._done
        if self._counts:
            self.rows += len(arguments[0].ids)
        elif self._done >= self._warm_up:
            self.timed_rows += len(arguments[0].ids)
