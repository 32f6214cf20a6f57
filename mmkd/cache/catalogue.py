"""What lies in a cache: every entry, whole or not; why a new one is made; what can go. No torch here."""

from __future__ import annotations

import datetime
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mmkd.arrays import StoreError
from mmkd.cache.entry import (
    ENTRY,
    MANIFEST,
    USED,
    Manifest,
    Start,
    damage,
    differing,
    read_manifest,
    unseal,
)
from mmkd.errors import MmkdError
from mmkd.lease import alone

GIGABYTE = 1e9
ROUNDING = 0.01
"""A relative error that no type makes by rounding alone; bf16 has 0.4% at most."""


class UnknownEntry(MmkdError):
    """No entry, or more than one, has the key; the message says which there are."""


@dataclass(frozen=True)
class Found:
    """An entry's folder. start: what it is about; None when it cannot be read. manifest: None unless it is whole.

    bytes: on disk. used: when it was last opened, or else written. problem: why it cannot be read.
    """

    folder: Path
    start: Start | None
    manifest: Manifest | None
    bytes: int
    used: datetime.datetime
    problem: str | None = None

    @property
    def state(self) -> str:
        """`whole`, `partial` or `unreadable`."""
        return "unreadable" if self.problem is not None else "partial" if self.manifest is None else "whole"


def entries(parent: Path) -> list[Found]:
    """Every entry below the cache's folder, the one used last first."""
    folders = (
        [path for path in parent.glob("*") if path.is_dir() and (path / ENTRY).exists()] if parent.is_dir() else []
    )
    return sorted((look(folder) for folder in folders), key=lambda found: (found.used, found.folder.name), reverse=True)


def look(folder: Path) -> Found:
    """What an entry's folder holds; no array is read."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    newest = folder / USED if (folder / USED).exists() else folder
    used = datetime.datetime.fromtimestamp(newest.stat().st_mtime, datetime.UTC)
    try:
        if (folder / MANIFEST).exists():
            manifest = read_manifest(folder)
            return Found(folder, manifest, manifest, size, used)
        return Found(folder, unseal(folder / ENTRY, Start), None, size, used)
    except StoreError as error:
        return Found(folder, None, None, size, used, str(error))


def find(parent: Path, key: str) -> Found:
    """The entry whose key starts so.

    Raises UnknownEntry when none does, or several do.
    """
    keys = [found.folder.name for found in entries(parent)]
    matching = [each for each in keys if each.startswith(key)]
    if len(matching) != 1:
        known = ", ".join(sorted(matching or keys)) or "none"
        raise UnknownEntry(f"{len(matching)} entries of {parent} have the key {key}; expected one of: {known}")
    return look(parent / matching[0])


def changed(parent: Path, start: Start) -> str | None:
    """Why an entry is made anew, when there is one of the same teacher's name, data set, split and view."""
    about = start.about
    same = []
    for found in entries(parent):
        if found.manifest is None:
            continue
        other = found.manifest.about
        if (other.teacher, other.data, other.split, other.view) == (about.teacher, about.data, about.split, about.view):
            same.append(differing(found.manifest.parts, start.parts))
    nearest = min(same, key=len, default=[])  # of equally near ones the one used last
    if not nearest:
        return None
    verb = "differ" if len(nearest) > 1 or nearest[0].endswith("s") else "differs"
    return f"cache of {about}: {', '.join(nearest)} {verb}, made anew"


def told(manifest: Manifest) -> str:
    """An entry in a line: its rows and bytes, the time that it took, and what storing lost beyond rounding."""
    size = f"{manifest.rows:,} rows, {manifest.bytes / 1e6:,.1f} MB, {manifest.seconds:.1f} s"
    lossy = [name for name, lost in manifest.lost.items() if lost.of == "nats" or lost.value > ROUNDING]
    lines = [line for name, line in lost_lines(manifest).items() if name in lossy]
    return "; ".join([f"cache of {manifest.about}: {size}", *lines])


def lost_lines(manifest: Manifest) -> dict[str, str]:
    """What storing lost, in words, by output."""
    found = {}
    for name, lost in sorted(manifest.lost.items()):
        value = f"KL {lost.value:.3g} nats" if lost.of == "nats" else f"relative error {lost.value:.3g}"
        found[name] = f"{name}: {value} (largest {lost.largest:.3g})"
    return found


def dropped(parent: Path, unused_days: float | None, budget: float | None, now: datetime.datetime) -> dict[Path, str]:
    """Entries that can go -> why: partial and damaged ones, those not used for so long, and the oldest beyond a budget.

    budget: of all entries that stay, in bytes. Every byte is read, to find damage.
    """
    found: dict[Path, str] = {}
    kept = []
    for each in entries(parent):
        if each.manifest is None:
            found[each.folder] = each.problem or "partial: its build was interrupted"
        elif (problem := damage(each.folder, each.manifest)) is not None:
            found[each.folder] = problem
        elif unused_days is not None and (now - each.used).total_seconds() > unused_days * 86400:
            found[each.folder] = f"not used since {each.used:%Y-%m-%d}"
        else:
            kept.append(each)
    total = 0
    for each in kept:
        total += each.bytes
        if budget is not None and total > budget:
            found[each.folder] = f"beyond {budget / GIGABYTE:g} GB, used last on {each.used:%Y-%m-%d}"
    return found


def delete(folder: Path) -> bool:
    """Delete an entry, unless a process uses it; whether it is gone."""
    with alone(folder) as held:
        if held:
            gone = folder.with_name(f".gone-{folder.name}-{os.getpid()}")
            folder.rename(gone)  # at once, so that nobody finds half of it
            shutil.rmtree(gone)
        return held
