"""Copies of the cache on a node's own disk: whole, once, only what is wanted, and refused when damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from rich.progress import Progress

from mmkd.arrays import StoreError
from mmkd.cache.entry import MANIFEST
from mmkd.places import CACHE
from mmkd.ready import make_ready
from mmkd.sweep.nearby import bring_near, entries_of
from tiny_project import experiment, make_project, plain_experiment

QUIET = Progress(disable=True)


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, tuple[str, ...]]:
    """A project whose cache is filled, and the entries that its teachers speak from."""
    folder = tmp_path / "project"
    folder.mkdir()
    make_project(folder)
    ready = make_ready(experiment(plain_experiment()), folder / "x.yaml", QUIET)
    return folder, entries_of(ready.teachers.values())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_node_reads_its_own_copy_and_makes_nothing_anew(
    made: tuple[Path, tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, entries = made
    here, cache = tmp_path / "node", folder / "results" / "cache"
    assert len(entries) == 4  # two teachers on two splits
    bring_near(cache, here, entries)
    copied = files(here)
    own = {name: data for name, data in files(cache).items() if Path(name).name not in ("used", "lock")}
    assert {name: data for name, data in copied.items() if Path(name).name not in ("used", "lock")} == own
    monkeypatch.setenv(CACHE, str(here))
    ready = make_ready(experiment(plain_experiment()), folder / "x.yaml", QUIET)
    assert ready.workspace.places.cache == here
    assert {name for name in files(here) if name.endswith((MANIFEST, ".npy"))} == {
        name for name in copied if name.endswith((MANIFEST, ".npy"))
    }
    assert all(reader.is_relative_to(here) for reader in _folders(ready.teachers.values()))


def _folders(speakers: object) -> list[Path]:
    return [folder for speaker in speakers for folder in speaker.reader.folders]  # type: ignore[attr-defined]


def test_entries_that_are_not_wanted_are_not_copied(made: tuple[Path, tuple[str, ...]], tmp_path: Path):
    folder, entries = made
    bring_near(folder / "results" / "cache", tmp_path / "node", entries[:1])
    assert [path.parent.name for path in (tmp_path / "node" / "teachers").glob(f"*/{MANIFEST}")] == [entries[0]]


def test_a_second_process_copies_nothing_and_half_a_copy_is_made_anew(
    made: tuple[Path, tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import shutil

    folder, entries = made
    here, cache = tmp_path / "node", folder / "results" / "cache"
    real: Callable[..., object] = shutil.copyfile
    count = [0]

    def breaks(source: Path, to: Path) -> object:
        count[0] += 1
        if count[0] == 12:
            raise KeyboardInterrupt
        return real(source, to)

    monkeypatch.setattr(shutil, "copyfile", breaks)
    with pytest.raises(KeyboardInterrupt):
        bring_near(cache, here, entries)
    bring_near(cache, here, entries)
    before = count[0]
    bring_near(cache, here, entries)
    assert count[0] == before
    assert not list(here.rglob("*.new"))


def test_a_copy_that_is_damaged_is_refused(
    made: tuple[Path, tuple[str, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder, entries = made
    here = tmp_path / "node"
    bring_near(folder / "results" / "cache", here, entries)
    monkeypatch.setenv(CACHE, str(here))
    path = max((here / "teachers" / entries[0]).rglob("*.npy"), key=lambda each: each.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(StoreError, match=path.name):
        make_ready(experiment(plain_experiment()), folder / "x.yaml", QUIET)
