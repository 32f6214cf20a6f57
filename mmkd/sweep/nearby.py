"""Encoded data and teachers' outputs on a node's own disk: copied once, by one of the node's processes.

Whatever is opened from a cache is compared with its own hashes, here as anywhere; so a copy that is damaged is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from mmkd.cache.entry import MANIFEST
from mmkd.cache.speak import CachedTeacher, CachedViews
from mmkd.cache.store import PROJECTIONS
from mmkd.disk import told_of_disk
from mmkd.lease import in_turn
from mmkd.teachers.base import Speaker

TEACHERS = "teachers"


def entries_of(speakers: Iterable[Speaker]) -> tuple[str, ...]:
    """Names of the cache entries that teachers speak from."""
    views = [view for each in speakers for view in (each.views.values() if isinstance(each, CachedViews) else [each])]
    readers = [view.reader for view in views if isinstance(view, CachedTeacher)]
    return tuple(sorted({folder.name for reader in readers for folder in reader.folders}))


def bring_near(cache: Path, here: Path, entries: Iterable[str]) -> None:
    """Copy what is not here yet. cache: the project's own. here: a folder on this node's disk.

    entries: names of teachers' outputs that are wanted. Raises DiskError when there is no room.
    """
    with in_turn(here, "lock", lambda text: None):
        stores = ("data/*", f"{TEACHERS}/{PROJECTIONS}", *(f"{TEACHERS}/{name}" for name in entries))
        whole = [manifest.parent for store in stores for manifest in cache.glob(f"{store}/**/{MANIFEST}")]
        single = [path for place in ("tokenizers", "data/checks") for path in (cache / place).glob("*.json")]
        for path in (*whole, *single):
            copy_whole(path, here / path.relative_to(cache))


def copy_whole(path: Path, to: Path) -> None:
    """A folder, or a file: all of it or nothing, since it has its name when all is there."""
    if to.exists():
        return
    files = [each for each in (path, *path.rglob("*")) if each.is_file()]
    with told_of_disk(to, sum(file.stat().st_size for file in files)):
        new = to.with_name(f".{to.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        for file in files:
            place = new / file.relative_to(path)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
        new.rename(to)
