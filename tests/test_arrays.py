"""Stored arrays: found by their parts, never half there, never silently changed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from mmkd.arrays import MANIFEST, ArrayWriter, StoreError, code_hash, file_hashes, stored, write_synced
from mmkd.disk import sync

VALUES = np.arange(12, dtype=np.int32).reshape(3, 4)


def filler(calls: list[int] | None = None) -> Callable[[ArrayWriter], None]:
    def fill(writer: ArrayWriter) -> None:
        if calls is not None:
            calls.append(1)
        writer.put("numbers", VALUES)
        writer.put("none", np.zeros((0, 5), np.float16))
        writer.put("names", np.array(["a", "ü"]))

    return fill


def only_folder(parent: Path) -> Path:
    (folder,) = parent.iterdir()
    return folder


def test_equal_parts_are_found_again_with_equal_content(tmp_path: Path):
    calls: list[int] = []
    stored(tmp_path, {"a": "1", "b": "2"}, filler(calls))
    found = stored(tmp_path, {"b": "2", "a": "1"}, filler(calls))
    assert calls == [1]
    assert np.array_equal(found["numbers"], VALUES)
    assert found["numbers"].dtype == np.int32
    assert found["none"].shape == (0, 5)
    assert found["names"].tolist() == ["a", "ü"]


@pytest.mark.parametrize("other", [{"a": "2"}, {"b": "1"}, {"a": "1", "b": ""}, {}])
def test_other_parts_have_another_folder(tmp_path: Path, other: dict[str, str]):
    calls: list[int] = []
    stored(tmp_path, {"a": "1"}, filler(calls))
    stored(tmp_path, other, filler(calls))
    assert calls == [1, 1]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_is_opened_cannot_be_written(tmp_path: Path):
    found = stored(tmp_path, {"a": "1"}, filler())
    with pytest.raises(ValueError, match="read-only"):
        found["numbers"][0, 0] = 9


def test_a_part_edited_in_the_manifest_is_named(tmp_path: Path):
    parts = {"weights": "abc", "dtype": "fp16"}
    stored(tmp_path, parts, filler())
    manifest = only_folder(tmp_path) / MANIFEST
    content = json.loads(manifest.read_text("utf-8"))
    content["parts"]["weights"] = "other"
    manifest.write_text(json.dumps(content), "utf-8")
    with pytest.raises(StoreError, match=r"`weights` differs: found 'other', expected 'abc'"):
        stored(tmp_path, parts, filler())


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"parts": {}}'])
def test_an_unreadable_manifest_is_refused(tmp_path: Path, text: str):
    stored(tmp_path, {}, filler())
    (only_folder(tmp_path) / MANIFEST).write_text(text, "utf-8")
    with pytest.raises(StoreError, match="manifest cannot be read"):
        stored(tmp_path, {}, filler())


@pytest.mark.parametrize("place", [0, -1])
def test_one_flipped_byte_is_named(tmp_path: Path, place: int):
    stored(tmp_path, {}, filler())
    path = only_folder(tmp_path) / "numbers.npy"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"numbers\.npy: the content is not what was written"):
        stored(tmp_path, {}, filler())


def test_a_missing_array_is_named(tmp_path: Path):
    stored(tmp_path, {}, filler())
    (only_folder(tmp_path) / "none.npy").unlink()
    with pytest.raises(StoreError, match=r"none\.npy"):
        stored(tmp_path, {}, filler())


def test_a_folder_without_a_manifest_is_refused_with_advice(tmp_path: Path):
    stored(tmp_path, {}, filler())
    (only_folder(tmp_path) / MANIFEST).unlink()
    with pytest.raises(StoreError, match="delete it"):
        stored(tmp_path, {}, filler())


def test_an_exception_while_filling_leaves_nothing(tmp_path: Path):
    def fill(writer: ArrayWriter) -> None:
        writer.put("numbers", VALUES)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stored(tmp_path, {}, fill)
    assert list(tmp_path.iterdir()) == []
    assert np.array_equal(stored(tmp_path, {}, filler())["numbers"], VALUES)


def test_two_writers_at_once_agree_and_leave_one_folder(tmp_path: Path):
    both_fill = threading.Barrier(2, timeout=30)
    found: list[np.ndarray] = []

    def fill(writer: ArrayWriter) -> None:
        both_fill.wait()  # neither finishes before the other has started
        writer.put("numbers", VALUES)

    threads = [
        threading.Thread(target=lambda: found.append(stored(tmp_path, {"a": "1"}, fill)["numbers"])) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [np.array_equal(values, VALUES) for values in found] == [True, True]
    only_folder(tmp_path)


def test_a_killed_writer_leaves_nothing_that_is_opened(tmp_path: Path):
    process = multiprocessing.get_context("spawn").Process(target=_kill_self_while_filling, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -9
    assert len(list(tmp_path.iterdir())) == 1  # the half-written one, under a name that is never opened
    assert np.array_equal(stored(tmp_path, {}, filler())["numbers"], VALUES)


def _kill_self_while_filling(parent: Path) -> None:
    def fill(writer: ArrayWriter) -> None:
        writer.put("numbers", VALUES + 1)
        os.kill(os.getpid(), signal.SIGKILL)

    stored(parent, {}, fill)


def test_code_hash_follows_content_and_looks_into_folders(tmp_path: Path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "one.py").write_text("a = 1\n")
    (tmp_path / "part" / "notes.txt").write_text("not code\n")
    (tmp_path / "two.py").write_text("b = 2\n")
    before = code_hash(tmp_path / "part", tmp_path / "two.py")
    assert before == code_hash(tmp_path / "two.py", tmp_path / "part")
    (tmp_path / "part" / "notes.txt").write_text("still not\n")
    assert before == code_hash(tmp_path / "part", tmp_path / "two.py")
    (tmp_path / "part" / "one.py").write_text("a = 2\n")
    assert before != code_hash(tmp_path / "part", tmp_path / "two.py")


def test_hashes_of_several_files_are_those_of_each(tmp_path: Path):
    paths = [tmp_path / f"{number}.bin" for number in range(20)]
    for number, path in enumerate(paths[:-1]):
        path.write_bytes(bytes([number]) * number * 1000)
    found = file_hashes(paths)
    assert list(found) == paths
    assert found == {path: sha256(path.read_bytes()).hexdigest() if path.exists() else None for path in paths}
    assert found[paths[-1]] is None


def test_a_synced_file_holds_its_text(tmp_path: Path):
    write_synced(tmp_path / "a.json", "\u00fc")
    sync(tmp_path)
    assert (tmp_path / "a.json").read_text("utf-8") == "\u00fc"
