"""Builds that break off go on with whole shards, and give the same bytes; one process builds, others wait."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cache_tools import Log, NumberTeacher, numbered_corpus, store

from mmkd.arrays import ArrayWriter, StoreError
from mmkd.cache import build
from mmkd.cache.build import Filled, complete, ranges
from mmkd.cache.entry import ENTRY, MANIFEST, SHARD, About, Array, Shard, Start, key_of, seal, shard_name, unseal
from mmkd.lease import alone, shared

ROWS = 25
PARTS = {"weights": "w", "rows": "r"}
ABOUT = About(teacher="bert", data="listed", split="train", view=None, dtype="fp32")
START = Start(parts=PARTS, about=ABOUT, rows=ROWS)


@pytest.fixture(autouse=True)
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "SHARD_ROWS", 10)


class Filler:
    """Writes a row's number three times; breaks off, once, after writing half of the shard of that number."""

    def __init__(self, fails_at: int | None = None, do: Callable[[], None] | None = None) -> None:
        self.fails_at, self.do, self.filled = fails_at, do, []

    def __call__(self, writer: ArrayWriter, first: int, end: int) -> Filled:
        self.filled.append(first)
        values = writer.allocate("values", (end - first, 3), np.float32)
        values[: (end - first) // 2] = np.arange(first, end)[: (end - first) // 2, None]
        if self.do is not None:
            self.do()
        if self.fails_at == first:
            self.fails_at = None
            raise KeyboardInterrupt
        values[:] = np.arange(first, end)[:, None]
        return Filled(0, {"values": Array(ragged=False, kind="fp32", shape=(3,))}, {}, {}, {})


def silent(text: str) -> None:
    raise AssertionError(text)


def built(parent: Path, fill: Filler, say: Callable[[str], None] = silent) -> Path:
    folder = parent / key_of(PARTS)
    complete(folder, START, fill, say)
    return folder


def content(folder: Path) -> dict[str, object]:
    """Every file of an entry: arrays as bytes, JSON without the times and without the digest over them."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".json":
            found[str(path.relative_to(folder))] = timeless(json.loads(path.read_text("utf-8")))
        elif path.is_file() and path.name not in {"lock", "used"}:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


def timeless(plain: object) -> object:
    if isinstance(plain, dict):
        return {k: timeless(v) for k, v in plain.items() if k not in {"seconds", "made", "digest"}}
    return [timeless(each) for each in plain] if isinstance(plain, list) else plain


def test_row_ranges_are_fixed():
    assert ranges(25) == [(0, 10), (10, 20), (20, 25)]
    assert ranges(20) == [(0, 10), (10, 20)]
    assert ranges(0) == []


@pytest.mark.parametrize("fails_at", [0, 10, 20])
def test_a_build_that_broke_off_goes_on_with_its_whole_shards(tmp_path: Path, fails_at: int):
    unbroken = built(tmp_path / "unbroken", Filler())
    fill = Filler(fails_at)
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path / "broken", fill)
    assert not (tmp_path / "broken" / key_of(PARTS) / MANIFEST).exists()
    folder = built(tmp_path / "broken", fill)
    assert fill.filled == [*range(0, fails_at + 1, 10), *range(fails_at, 25, 10)]  # no whole shard was made again
    assert content(folder) == content(unbroken)
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_a_build_that_breaks_off_at_any_batch_gives_the_same_bytes(tmp_path: Path):
    corpus = numbered_corpus(tmp_path, 37, 11)
    store(NumberTeacher(), corpus, tmp_path / "unbroken")
    for fails_at in range(1, 7):  # 4 + 2 shards of one batch each
        teacher = NumberTeacher()
        teacher.fails_at = fails_at
        with pytest.raises(KeyboardInterrupt):
            store(teacher, corpus, tmp_path / "broken")
        log = Log()
        store(teacher, corpus, tmp_path / "broken", log=log)
        assert teacher.batches == 6 + 1 + 1  # the batch that broke off twice, and the comparison
        assert content(tmp_path / "broken") == content(tmp_path / "unbroken")
        shutil.rmtree(tmp_path / "broken")


@pytest.mark.parametrize("name", ["values.npy", SHARD])
def test_a_damaged_shard_of_a_partial_entry_is_made_again(tmp_path: Path, name: str):
    unbroken, fill = built(tmp_path / "unbroken", Filler()), Filler(20)
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path, fill)
    path = tmp_path / key_of(PARTS) / shard_name(1) / name
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert content(built(tmp_path, fill)) == content(unbroken)
    assert fill.filled == [0, 10, 20, 10, 20]


def test_another_entry_under_the_same_key_is_refused_by_the_part(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path, Filler(10))
    other = Start(parts=PARTS | {"weights": "other"}, about=ABOUT, rows=ROWS)
    (tmp_path / key_of(PARTS) / ENTRY).write_text(seal(other), "utf-8")
    with pytest.raises(StoreError, match="`weights` differs: found 'other', expected 'w'"):
        built(tmp_path, Filler())


def test_the_shard_says_what_is_in_it(tmp_path: Path):
    folder = built(tmp_path, Filler())
    shard = unseal(folder / shard_name(2) / SHARD, Shard)
    assert (shard.start, shard.end, shard.files.keys()) == (20, 25, {"values.npy"})
    assert shard.bytes == (folder / shard_name(2) / "values.npy").stat().st_size


def test_a_second_writer_waits_and_makes_nothing(tmp_path: Path):
    started, go = threading.Event(), threading.Event()

    def hold() -> None:
        started.set()
        assert go.wait(30)

    first, second = Filler(do=hold), Filler()
    said: list[str] = []
    thread = threading.Thread(target=built, args=(tmp_path, first))
    thread.start()
    assert started.wait(30)
    waiter = threading.Thread(target=built, args=(tmp_path, second, said.append))
    waiter.start()
    while not said:
        time.sleep(0.01)
    go.set()
    thread.join(30)
    waiter.join(30)
    assert (first.filled, second.filled) == ([0, 10, 20], [])
    assert said == [f"cache of bert for listed/train: another process makes {key_of(PARTS)}; waiting for it"]


def test_the_lock_is_for_one_writer_or_several_readers(tmp_path: Path):
    with alone(tmp_path / "a") as held:
        assert held
        assert shared(tmp_path / "a") is None
        with alone(tmp_path / "a") as again:
            assert not again
    readers = [shared(tmp_path / "a"), shared(tmp_path / "a")]
    assert None not in readers
    with alone(tmp_path / "a") as held:
        assert not held
    for place in readers:
        os.close(int(place or 0))
    with alone(tmp_path / "a") as held:
        assert held


def test_a_build_that_is_killed_twenty_times_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(build, "SHARD_ROWS", 50)
    corpus = numbered_corpus(tmp_path / "data", 2000)
    began = time.perf_counter()
    store(NumberTeacher(), corpus, tmp_path / "unbroken")
    whole = time.perf_counter() - began
    unbroken = content(tmp_path / "unbroken")
    context = multiprocessing.get_context("fork")  # another would import everything again, twenty times
    generator, killed, partial = random.Random(0), 0, 0
    while killed < 20:
        process = context.Process(target=store, args=(NumberTeacher(), corpus, tmp_path / "killed"))
        process.start()
        time.sleep(generator.uniform(0, whole / 6))
        process.kill()
        process.join(60)
        killed += process.exitcode == -signal.SIGKILL
        partial += bool(list((tmp_path / "killed").glob("*/shard-*")))
        if list((tmp_path / "killed").glob("*/" + MANIFEST)):
            assert content(tmp_path / "killed") == unbroken
            shutil.rmtree(tmp_path / "killed")  # the next kill shall break a build too
    assert partial > 10  # the kills fell into the middle of builds
    store(NumberTeacher(), corpus, tmp_path / "killed")
    assert content(tmp_path / "killed") == unbroken
