"""`mmkd run --verify RECORD`: the seed that a record describes is run again, beside it, and compared."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import torch
from rich.progress import Progress

from mmkd.config.load import from_plain
from mmkd.environment import code_state
from mmkd.places import Places
from mmkd.ready import make_ready
from mmkd.record import RecordError, RunRecord, read_record
from mmkd.report.records import SCRATCH_NAME, ledger_predictions, untracked_code
from mmkd.report.verification import Verification, compare_records
from mmkd.run import run_folder
from mmkd.seed import run_seed
from mmkd.write_up import PREDICTIONS


def verify_record(path: Path, progress: Progress, command: str, say: Callable[[str], None] = print) -> Verification:
    """Run the seed of a student's record again, from its resolved experiment, and compare all numbers.

    Teachers and caches are found, or made again. The new run lies in `verify-seed<n>` in the folder of the experiment's
    runs; where it opens the test split, that folder's ledger says so.

    Raises RecordError for a record that cannot be read, is no student's, or whose code cannot be had; what opening the
    data raises where they are not there.
    """
    record = read_record(path)
    if record.role != "student":
        raise RecordError(f"{path}: the record of teacher {record.teacher}; expected a student's, which verifies both")
    _require_code(record, path)
    experiment = from_plain(record.experiment, str(path))
    torch.set_num_threads(record.machine.threads)  # as it was, where the experiment leaves it open
    ready = make_ready(experiment, path, progress)
    folder = run_folder(experiment, path) / f"verify-seed{record.seed}"
    say(f"runs seed {record.seed} again in {folder}")
    again = run_seed(ready, record.seed, folder, command, test="test" in record.scores)
    old = path.with_name(PREDICTIONS) if path.name == SCRATCH_NAME else ledger_predictions(path)
    return compare_records(record, again, old if old.is_file() else None, folder / PREDICTIONS)


def _require_code(record: RunRecord, path: Path) -> None:
    """Raises RecordError when the code that made the record cannot be had again, and is not the code that is here."""
    root = Places.near(path).root
    now = code_state(root)
    if now == record.code:
        return
    reason = untracked_code(record)
    if reason is None and not _has_commit(root, str(record.code.commit)):
        reason = f"its commit {str(record.code.commit)[:12]} is not in the repository at {root}"
    if reason is not None:
        raise RecordError(f"{path}: cannot be verified: {reason}; expected code that can be had again")


def _has_commit(root: Path, commit: str) -> bool:
    try:
        done = subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=root, capture_output=True)
    except OSError:
        return False
    return done.returncode == 0
