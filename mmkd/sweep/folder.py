"""Where a sweep lies, `results/sweeps/<experiment>-<sweep file>/run1`, ..., and whether it goes on. No Ray here."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmkd.config.experiment import Experiment
from mmkd.config.sweep_file import Sweep
from mmkd.errors import MmkdError
from mmkd.places import Places
from mmkd.record import decisive, hash_of
from mmkd.sweep.journal import Event, read_journal
from mmkd.sweep.order import STOP

JOURNAL = "journal.jsonl"
CHANGES_NOTHING = {"trials", "hours", "gpu_hours", "retry", "hang_minutes", "keep_weights", "per_trial", "node_cache"}
"""Keys of a sweep that may differ when it goes on: no trial that there was would have been another one."""


class OtherSweep(MmkdError):
    """A sweep cannot go on, since something that it depends on is another; the message says what."""


def parent_of(file: Path, experiment: Experiment) -> Path:
    """Folder of all runs of a sweep file."""
    return Places.near(file).sweeps / f"{experiment.name}-{file.stem}"


def newest(parent: Path) -> Path | None:
    """The last run of a sweep, if there is one."""
    found = {int(path.name.removeprefix("run")): path for path in parent.glob("run*") if path.name[3:].isdigit()}
    return found[max(found)] if found else None


def begin_or_go_on(parent: Path, header: Event, fresh: bool) -> Path:
    """The folder of the run that goes on, or of a new one. header: what it depends on. fresh: a new one in any case.

    Raises OtherSweep when the newest run has not ended and depends on something else; JournalError when its journal is
    damaged.
    """
    last = newest(parent)
    if last is None:
        return parent / "run1"
    following = parent / f"run{int(last.name[3:]) + 1}"
    if fresh or not (last / JOURNAL).exists():
        return following if fresh else last
    events = read_journal(last / JOURNAL)
    if not events:
        return last
    before, now = events[0]["made_from"], header["made_from"]
    different = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
    if not different:
        return last
    raise OtherSweep(
        f"{last}: began with another {', '.join(different)}, so that its trials cannot be compared with new ones; "
        "bring that back to go on, or begin anew with --fresh, which keeps it"
    )


def header_of(
    sweep: Sweep, file: Path, target: Path, experiment: Experiment, parts: Mapping[str, str], fixed: tuple[str, ...]
) -> Event:
    """The first line of a journal. parts: what the experiment's numbers depend on, beside its file."""
    plain = sweep.model_dump(mode="json")
    essence = {key: value for key, value in plain.items() if key not in CHANGES_NOTHING}
    made_from = {"sweep file": hash_of(essence), "experiment": hash_of(decisive(experiment.dump())), **parts}
    about: dict[str, Any] = {"file": file.name, "target": str(target), "overrides": list(fixed)}
    return {
        "event": "begin",
        "time": time.time(),
        **about,
        "sweep": plain,
        "experiment": experiment.dump(),
        "made_from": made_from,
    }


def clear_stop(folder: Path) -> None:
    """Take back that the trials were asked to stop."""
    (folder / STOP).unlink(missing_ok=True)
