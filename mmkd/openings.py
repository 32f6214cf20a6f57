"""The ledger of a run's folder: who opened the test split, when, and by which command. No torch here.

It lies beside the seeds' folders, which a run empties, so that a second run of the same experiment is counted.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from mmkd.record import Opening, RecordError

LEDGER = "openings.jsonl"


def note_opening(run: Path, who: str, command: str) -> None:
    """Write down an opening, before any test label is read. run: the folder of the experiment's runs."""
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    run.mkdir(parents=True, exist_ok=True)
    with (run / LEDGER).open("a", encoding="utf-8") as file:  # one write: seeds may run at the same time
        file.write(Opening(who=who, when=when, command=command).model_dump_json() + "\n")


def openings_of(run: Path) -> list[Opening]:
    """Every opening so far, in order.

    Raises RecordError when a line is not one that `note_opening` wrote.
    """
    path = run / LEDGER
    if not path.exists():
        return []
    try:
        return [Opening.model_validate_json(line) for line in path.read_text("utf-8").splitlines()]
    except ValueError as error:
        raise RecordError(f"{path}: not the ledger of openings that runs write: {error}; restore it") from error
