"""`mmkd sweep show`: what a sweep has found so far, in the terminal, as figures and as one page. It writes no journal.

It may look while another process leads the sweep. No torch here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib

from mmkd.config.load import load
from mmkd.config.sweep_file import Sweep
from mmkd.errors import MmkdError
from mmkd.record import RecordError, read_record
from mmkd.report.plot_style import STYLE
from mmkd.sweep.figures import figures
from mmkd.sweep.folder import JOURNAL, newest, parent_of
from mmkd.sweep.importance import importances, says
from mmkd.sweep.journal import read_journal
from mmkd.sweep.page import command, sweep_page
from mmkd.sweep.ranking import winner_of
from mmkd.sweep.show import spent, trial_table, troubles
from mmkd.sweep.trials import trials_of
from mmkd.sweep.winner import WINNER, with_new_seeds

PAGE, FIGURES = "report.html", "figures"
PACKAGES = ("torch", "transformers", "timm")


def look(sweep: Sweep, file: Path, run: str | None, say: Callable[[Any], None]) -> Path:
    """Show a sweep; return the page. file: the sweep file. run: `run1`, or another; None: the newest.

    Raises MmkdError where there is none, JournalError for a damaged journal.
    """
    parent = parent_of(file, load(file.parent / sweep.experiment, [f"seeds={list(sweep.seeds)}"]))
    folder = newest(parent) if run is None else parent / run
    if folder is None or not (folder / JOURNAL).exists():
        raise MmkdError(f"{parent if folder is None else folder}: no sweep yet; `mmkd sweep {file}` begins one")
    events = read_journal(folder / JOURNAL)
    if not events:
        raise MmkdError(f"{folder / JOURNAL}: nothing in it yet")
    own = Sweep.model_validate(events[0]["sweep"])  # as it ran, which the file may say no more
    trials = list(trials_of(events).values())
    say(trial_table(trials, own, most=20))
    for line in (" · ".join(spent(events, trials, own)), *troubles(trials)):
        say(line)
    if shares := importances(trials, own):
        say("importance: " + ", ".join(f"{key} {share:.2f}" for key, share in shares.items()))
    say(says(trials, own))
    drawn = figures(trials, own)
    (folder / FIGURES).mkdir(exist_ok=True)
    with matplotlib.rc_context(STYLE):
        for name, figure in drawn.items():
            for kind in ("pdf", "png"):
                figure.savefig(folder / FIGURES / f"{name}.{kind}", dpi=200)
    (folder / PAGE).write_text(sweep_page(events[0], events, trials, drawn, machine_of(folder)), "utf-8")
    if (winner := winner_of(trials, own.objective)) is not None:
        say(f"best so far: trial {winner.number}; the same again:\n{command(events[0], winner)}")
        if (folder / WINNER).exists():
            say(f"{os.path.relpath(folder / WINNER)}, with new seeds:\n{with_new_seeds(folder / WINNER, own)}")
    say(f"written to {os.path.relpath(folder / PAGE)} and {os.path.relpath(folder / FIGURES)}/")
    return folder / PAGE


def machine_of(folder: Path) -> str:
    """Where trials ran, as their first record says; empty when there is none."""
    for path in sorted(folder.glob("trials/*/seed*/record.json")):
        try:
            found = read_record(path)
        except RecordError:
            continue
        packages = ", ".join(f"{name} {found.packages[name]}" for name in PACKAGES if name in found.packages)
        return f"{found.machine.device}, {found.machine.cpu}, {found.machine.threads} threads; {packages}"
    return ""
