"""A sweep in the terminal: its trials, best first, with how they ended. No torch and no Ray here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rich import box
from rich.table import Table

from mmkd.config.sweep_file import Sweep
from mmkd.sweep.journal import Event
from mmkd.sweep.ranking import pareto, ranked, spread
from mmkd.sweep.trials import FINISHED, Trial, time_spent

NONE = "–"


def trial_table(trials: Iterable[Trial], sweep: Sweep, most: int | None = None) -> Table:
    """Trials, best first. most: rows that are shown; None for all."""
    order = ranked(trials, sweep.objective)
    front = {trial.number for trial in pareto(order, sweep.objective)} if len(sweep.objective.names) > 1 else set()
    shown = order if most is None else order[:most]
    title = f"{len(shown)} of {len(order)} trials" if len(shown) < len(order) else f"{len(order)} trials"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    table.add_column("trial", justify="right")
    for name in (*sweep.objective.names, "epochs", "status", *sweep.space):
        # Long keys on lines of their own.
        table.add_column(name.replace(".", ".\n"), no_wrap=name == "status", justify="right")
    for trial in shown:
        scores = [score(trial, name) for name in sweep.objective.names]
        epochs = "+".join(str(seed.epochs) for seed in trial.seeds) or NONE
        values = [short(trial.values[key]) if key in trial.values else NONE for key in sweep.space]
        mark = "*" if trial.number in front else ""
        table.add_row(f"{trial.number}{mark}", *scores, epochs, trial.status or "open", *values)
    if front:
        table.caption = "*: no finished trial surpasses it in all objectives (Pareto set)"
    return table


def score(trial: Trial, name: str) -> str:
    """Mean over seeds, with its 95% t-interval where there are several."""
    if not trial.seeds:
        return NONE
    found = spread(trial, name)
    if found.low is None or found.high is None:
        return number(found.mean)
    return f"{number(found.mean)} ({number(found.low)} to {number(found.high)})"


def number(value: float) -> str:
    """Four digits behind the point of a score, all digits of a count."""
    return f"{value:.4f}" if abs(value) < 1000 else f"{value:,.0f}"


def short(value: object) -> str:
    """A value of a key: a number to four digits, a plug-in's section as its kind with its keys."""
    if isinstance(value, Mapping) and "kind" in value:
        keys = ", ".join(f"{key} {short(own)}" for key, own in value.items() if key != "kind")
        return f"{value['kind']}{f' ({keys})' if keys else ''}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def spent(events: Iterable[Event], trials: Iterable[Trial], sweep: Sweep) -> list[str]:
    """Trials by status, and what they took."""
    found, hours = list(trials), time_spent(events) / 3600
    counts = Counter(trial.status or "open" for trial in found)
    seconds = sum(trial.seconds for trial in found)
    lines = [f"{len(found)} trials: " + ", ".join(f"{count} {status}" for status, count in counts.items())]
    lines += [f"{hours:.2f} hours", f"{seconds / 3600:.2f} hours of trials"]
    if sweep.per_trial.gpus:
        lines.append(f"{seconds / 3600 * sweep.per_trial.gpus:.2f} GPU hours")
    return lines


def troubles(trials: Iterable[Trial]) -> list[str]:
    """A line for each trial that failed, and for each attempt that broke off."""
    found = []
    for trial in trials:
        found += [f"trial {trial.number}, attempt {a.attempt}: {a.reason}: {a.says}" for a in trial.broke_off]
        if trial.status not in (None, FINISHED) and trial.says and not trial.broke_off:
            found.append(f"trial {trial.number}: {trial.status}: {trial.says}")
    return found
