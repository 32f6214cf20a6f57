"""Records whose experiment file says something else by now, so that running it again would not make them again."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from mmkd.config.load import from_plain, load
from mmkd.config.problems import ConfigError
from mmkd.record import RunRecord, decisive
from mmkd.report.commands import run_words
from mmkd.report.consistency import differing


def stale(records: Iterable[RunRecord], root: Path) -> dict[str, str]:
    """Name of a record in the ledger -> what its experiment file says otherwise.

    A record is compared that `mmkd run FILE` made, from the folder `root`, of a file that is still there; with the
    overrides of its command. Seeds, description and what changes no number may differ. The models that it names need
    not be on this machine.
    """
    seen: dict[tuple[str, ...], str | None] = {}
    found = {}
    for record in records:
        words = run_words(record)
        if words is None or record.soup is not None or not (root / words[0]).is_file():
            continue
        key = (record.experiment_hash, *words)
        if key not in seen:
            seen[key] = _change(record, root / words[0], words[1:])
        if (change := seen[key]) is not None:
            found[record.file_name] = f"{words[0]}, with its overrides, {change}; run the experiment again"
    return found


def _change(record: RunRecord, file: Path, overrides: list[str]) -> str | None:
    """What the file says now, with values of the record first; None where it says the same."""
    try:
        now = load(file, overrides, to_run=False).dump()
    except ConfigError as error:
        return f"is refused by now: {str(error).splitlines()[0]}"
    try:
        was = from_plain(record.experiment).dump()
    except ConfigError as error:
        return f"has keys of another version: {str(error).splitlines()[0]}"
    return None if decisive(was) == decisive(now) else f"says something else by now: {differing(was, now)}"
