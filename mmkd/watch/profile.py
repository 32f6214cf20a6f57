"""Where a step's time goes: a short stretch of a run, seen by torch's profiler and by a stopwatch.

<folder>/phases.json   wall seconds of a batch by phase, and of an evaluation
<folder>/table.txt     the same as a table, and the operations that took most time
<folder>/trace.json    every operation, for chrome://tracing or Perfetto; phases are the spans named `mmkd: ...`
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from mmkd.watch.phases import PHASES, Phases
from mmkd.watch.stopwatch import Stopwatch

JSON, TABLE, TRACE = "phases.json", "table.txt", "trace.json"
WARM_UP, BATCHES = 3, 10
ROWS = 25
"""Operations in the table."""


@dataclass(frozen=True)
class Profile:
    """What a stretch of a run showed, in wall seconds.

    batches: how many were profiled, after `warm_up`. phases: name -> seconds of a batch. evaluation: seconds of one;
    evaluations: how many the run made, each after an epoch.
    """

    device: str
    warm_up: int
    batches: int
    phases: dict[str, float]
    evaluation: float
    evaluations: int

    def text(self) -> str:
        """A table for people."""
        total = sum(self.phases.values())
        lines = [f"time of a batch, over {self.batches} after {self.warm_up} to warm up ({self.device})"]
        for name in PHASES:
            seconds = self.phases.get(name, 0.0)
            lines.append(f"  {name:<12} {1000 * seconds:10.2f} ms {100 * seconds / total if total else 0:6.1f} %")
        lines.append(f"  {'in all':<12} {1000 * total:10.2f} ms")
        lines.append(f"  an evaluation, after each of {self.evaluations} epochs: {self.evaluation:.2f} s")
        return "\n".join(lines) + "\n"


@contextmanager
def profiled(
    folder: Path, teachers: Iterable[nn.Module], device: torch.device, warm_up: int = WARM_UP, batches: int = BATCHES
) -> Iterator[Phases]:
    """A `Watch` for one run of `train`: it profiles `batches` batches after `warm_up`, and writes what it saw.

    The run goes on after the stretch, and its numbers are those of a run that nobody looks at.
    """
    stretch = _Stretch(device, warm_up, batches)
    phases = Phases(stretch.begin)
    try:
        with phases.with_teachers(teachers):
            yield phases
    finally:
        stretch.end()
    folder.mkdir(parents=True, exist_ok=True)
    found = stretch.profile()
    (folder / JSON).write_text(json.dumps(asdict(found), indent=1) + "\n", "utf-8")
    text = found.text()
    if stretch.started:
        by = "self_cpu_time_total" if device.type == "cpu" else "self_device_time_total"
        text += "\n" + stretch.operations.key_averages().table(sort_by=by, row_limit=ROWS, max_name_column_width=60)
        stretch.operations.export_chrome_trace(str(folder / TRACE))
    (folder / TABLE).write_text(text, "utf-8")


def read_profile(folder: Path) -> Profile:
    """The profile that was written there."""
    return Profile(**json.loads((folder / JSON).read_text("utf-8")))


class _Stretch:
    def __init__(self, device: torch.device, warm_up: int, batches: int) -> None:
        self._device, self._warm_up, self._last = device, warm_up, warm_up + batches
        on_device = {"cuda": [ProfilerActivity.CUDA], "xpu": [ProfilerActivity.XPU]}.get(device.type, [])
        self.operations = profile(activities=[ProfilerActivity.CPU, *on_device])
        self.started = self.running = False
        self._span: record_function | None = None
        self._done = self._evaluations = 0
        self._stopwatch = Stopwatch(device)
        self._evaluation = Stopwatch(torch.device("cpu"))  # scores are computed there, so it ends there

    def begin(self, phase: str, done: int) -> None:
        if self.running:
            self._done = done
        if done >= self._last:
            self.end()
        elif done == self._warm_up and phase == "loading" and not self.started:
            self.operations.start()
            self.started = self.running = True
        if self.running:
            self._switch(phase)
        self._evaluations += phase == "evaluation"
        self._evaluation.begin("evaluation" if phase == "evaluation" else "")

    def end(self) -> None:
        if self.running:
            self._switch("")
            self.operations.stop()
            self.running = False

    def _switch(self, phase: str) -> None:
        self._stopwatch.begin(phase)
        if self._span is not None:
            self._span.__exit__(None, None, None)
        self._span = record_function(f"mmkd: {phase}") if phase else None
        if self._span is not None:
            self._span.__enter__()

    def profile(self) -> Profile:
        batches = max(0, min(self._done, self._last) - self._warm_up)
        seconds = self._stopwatch.seconds
        return Profile(
            device=self._device.type,
            warm_up=self._warm_up,
            batches=batches,
            phases={name: seconds.get(name, 0.0) / batches for name in PHASES} if batches else {},
            evaluation=self._evaluation.seconds.get("evaluation", 0.0) / max(1, self._evaluations),
            evaluations=self._evaluations,
        )
