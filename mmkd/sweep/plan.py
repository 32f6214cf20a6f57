"""What a sweep will cost before it runs: teachers and cache once, then trials, so many at the same time."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from rich import box
from rich.console import Group, RenderableType
from rich.progress import Progress
from rich.table import Table

from mmkd.config.sweep_file import Pbt, Sweep
from mmkd.plan.facts import Plan
from mmkd.plan.plan import plan_experiment
from mmkd.plan.show import duration, shown, size
from mmkd.sweep.choose import ahead_of, learns
from mmkd.sweep.run import check_space, fixed_overrides
from mmkd.sweep.space import combinations


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep will cost. experiment: the plan of one trial, all its seeds.

    trials: None when only hours bound them. at_once: on this machine. once, each: seconds before the first trial, and
    of one trial without early stopping; seconds: of the sweep, an upper bound where trials are stopped early or given
    up. None where nothing was timed. weights: bytes of those that are kept.
    """

    experiment: Plan
    trials: int | None
    at_once: int
    once: float | None
    each: float | None
    seconds: float | None
    weights: float
    notes: tuple[str, ...]


def plan_sweep(sweep: Sweep, file: Path, progress: Progress, measure: bool = True) -> SweepPlan:
    """Plan a sweep file. measure: time a few real steps.

    Raises ConfigError when a key or a value of the space is not one that the experiment takes.
    """
    target = (file.parent / sweep.experiment).resolve()
    experiment = check_space(sweep, target, fixed_overrides(sweep))
    plan = plan_experiment(experiment, target, progress, measure)
    trials = sweep.trials
    if sweep.search.kind == "grid":
        number = sum(1 for _ in combinations(sweep.space))
        trials = number if trials is None else min(trials, number)
    share = 1.0
    if isinstance(sweep.search, Pbt):
        epochs = experiment.train.epochs
        share, number = sweep.search.every / epochs, sweep.search.population * epochs // sweep.search.every
        trials = number if trials is None else min(trials, number)
    once = each = total = None
    if plan.seconds is not None:
        once = before_trials(plan)
        tests = sum(t.evaluation_seconds.value for t in plan.teachers if t.evaluation_seconds is not None)
        each = (plan.seconds.value - once - tests) * share
    at_once = trials_at_once(sweep)
    if once is not None and each is not None and trials is not None:
        total = once + each * -(-trials // at_once)
    return SweepPlan(
        experiment=plan,
        trials=trials,
        at_once=at_once,
        once=once,
        each=each,
        seconds=total,
        weights=plan.student.disk_bytes.value * sweep.keep_weights,
        notes=tuple(_notes(sweep, at_once)),
    )


def before_trials(plan: Plan) -> float:
    """Seconds to fine-tune teachers and fill caches, as far as they are not found."""
    parts = [part for teacher in plan.teachers for part in (teacher.finetune, teacher.cache) if part is not None]
    return sum(part.seconds.value for part in parts if part.seconds is not None)


def trials_at_once(sweep: Sweep) -> int:
    """How many trials this machine has room for, and the search allows."""
    own = sweep.per_trial
    room = [(os.cpu_count() or 1) // (own.cpus * own.together)]
    if own.gpus:
        room.append(int(torch.cuda.device_count() / own.gpus))
    if learns(sweep):
        room.append(ahead_of(sweep))
    return max(1, min(room))


def _notes(sweep: Sweep, at_once: int) -> list[str]:
    found = [f"{at_once} trials at the same time on this machine, each with {sweep.per_trial.cpus} cores"]
    if isinstance(sweep.search, Pbt):
        every = sweep.search.every
        found.append(f"a trial is {every} epochs of a member, and waits for all members' epochs before them")
    elif learns(sweep):
        most = ahead_of(sweep)
        found.append(f"a trial waits for those that came {most} before it, so that {most} run at most (search.ahead)")
    if sweep.stop_early is not None or len(sweep.seeds) > 1:
        found.append("trials that are stopped early or given up take less: the time is an upper bound")
    return found


def shown_sweep(plan: SweepPlan) -> RenderableType:
    """The plan for people: that of a trial, then the sweep."""
    table = Table(title="the sweep", box=box.SIMPLE_HEAD, title_justify="left", show_header=False)
    seconds = {"before the first trial": plan.once, "one trial": plan.each, "in all": plan.seconds}
    table.add_row("trials", "by hours" if plan.trials is None else str(plan.trials))
    for name, value in seconds.items():
        table.add_row(name, "–" if value is None else f"≈ {duration(value)}")
    table.add_row("weights that are kept", size(plan.weights))
    for note in plan.notes:
        table.add_row("", note)
    return Group(shown(plan.experiment), table)
