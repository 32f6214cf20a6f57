"""The suite from Python, for notebooks and scripts: the same as the command line does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from mmkd.config.experiment import Experiment
from mmkd.config.load import load
from mmkd.data.cards import read_cards
from mmkd.record import RunRecord
from mmkd.report.records import load_records as records_below


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read and check an experiment file. overrides: `a.b.c=value`, as on the command line.

    Raises ConfigError with every mistake.
    """
    return load(path, overrides, read_cards)


def run_experiment(
    path: str | Path, overrides: Sequence[str] = (), jobs: int = 1, fresh: bool = False
) -> list[RunRecord]:
    """Run an experiment file for each of its seeds; return the records of the students and of the teachers.

    jobs: seeds that run at the same time. fresh: run again what has finished already.
    Raises ConfigError with every mistake of the file, before anything runs.
    """
    from mmkd.run import run_experiment as run  # brings torch

    experiment = load_experiment(path, overrides)
    command = f"mmkd.run_experiment({str(path)!r}, {list(overrides)!r})"
    with Progress() as progress:
        return run(experiment, Path(path), progress, command, fresh, jobs, progress.console.print)


def load_records(folder: str | Path) -> list[RunRecord]:
    """All records below a folder, the ledger or scratch runs; runs of one name with other values of its keys too.

    Raises RecordError for records that cannot be trusted.
    """
    return records_below(Path(folder))
