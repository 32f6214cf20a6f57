"""The commands over a cache: what is listed, shown, verified, and dropped."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cache_tools import NumberTeacher, numbered_corpus, store
from typer.testing import CliRunner

from mmkd.arrays import StoreError
from mmkd.cache.catalogue import Found, UnknownEntry, delete, dropped, entries, find
from mmkd.cache.entry import ENTRY, MANIFEST
from mmkd.cache.speak import CachedTeacher
from mmkd.cli import app

NOW = datetime.datetime(2026, 11, 26, tzinfo=datetime.UTC)
DAY = 86400


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's cache with two entries of 30 and 20 rows, the working folder inside the project."""
    (tmp_path / "data_cards").mkdir()
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "results" / "cache" / "teachers"
    store(NumberTeacher(), numbered_corpus(tmp_path, 30, 20), place)
    return place


def of(folder: Path, split: str) -> Found:
    return next(each for each in entries(folder) if each.start is not None and each.start.about.split == split)


def make_partial(found: Found) -> None:
    (found.folder / MANIFEST).unlink()


def flip_byte(found: Found) -> None:
    path = found.folder / "shard-00000" / "pooled.text.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def use_at(found: Found, days_ago: float) -> None:
    time = NOW.timestamp() - days_ago * DAY
    os.utime(found.folder / "used", (time, time))


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["cache", *arguments], env={"COLUMNS": "200"})
    return result.exit_code, result.output


def test_entries_say_what_they_are(folder: Path):
    found = entries(folder)
    assert {(str(each.start.about), each.start.rows, each.state) for each in found if each.start is not None} == {
        ("numbers for listed/part0", 30, "whole"),
        ("numbers for listed/part1", 20, "whole"),
    }
    one = of(folder, "part0")
    assert one.manifest is not None
    assert one.manifest.words == sum(number * 7 % 11 % 7 for number in range(30))
    assert one.bytes > one.manifest.bytes == sum(p.stat().st_size for p in one.folder.rglob("*.npy"))
    make_partial(one)
    assert of(folder, "part0").state == "partial"
    (of(folder, "part1").folder / ENTRY).write_text("{}")
    assert sorted(each.state for each in entries(folder)) == ["partial", "whole"]  # the manifest says it all
    (of(folder, "part1").folder / MANIFEST).write_text("{}")
    assert sorted(each.state for each in entries(folder)) == ["partial", "unreadable"]
    assert entries(folder / "nothing") == []


def test_an_entry_is_found_by_the_beginning_of_its_key(folder: Path):
    one = of(folder, "part0")
    assert find(folder, one.folder.name[:8]).folder == one.folder
    for key in ("", "zzz"):
        with pytest.raises(UnknownEntry, match="have the key"):
            find(folder, key)


def test_list_and_show(folder: Path):
    make_partial(of(folder, "part1"))
    code, output = run("list")
    assert code == 0
    lines = {state: next(line for line in output.splitlines() if state in line) for state in ("whole", "partial")}
    assert all(word in lines["whole"] for word in ("numbers", "listed/part0", "fp32", "30"))
    assert "2 entries" in output
    one = of(folder, "part0")
    code, output = run("show", one.folder.name[:10])
    assert code == 0
    for expected in (
        "numbers for listed/part0, 30 rows",
        "weights      w",
        "hidden.text.0            fp32   [word, 3]",
    ):
        assert expected in output
    assert run("show", "zzz")[0] == 2


def test_verify_reads_every_byte(folder: Path):
    assert run("verify")[0] == 0
    flip_byte(of(folder, "part0"))
    code, output = run("verify")
    assert code == 1
    assert "pooled.text.npy: the content is not what was written" in output
    assert run("verify", of(folder, "part1").folder.name)[0] == 0
    assert run("verify", of(folder, "part0").folder.name)[0] == 1


def test_gc_says_what_it_would_drop_and_drops_it_with_yes(folder: Path):
    assert run("gc") == (0, "nothing to drop\n")
    make_partial(of(folder, "part0"))
    flip_byte(of(folder, "part1"))
    code, output = run("gc")
    assert code == 0
    assert output.count("would drop") == 2
    assert len(entries(folder)) == 2
    code, output = run("gc", "--yes")
    assert output.count("dropped") == 2
    assert list(folder.glob("*")) == []


def test_gc_drops_what_was_not_used_and_the_oldest_beyond_a_budget(folder: Path):
    old, new = of(folder, "part0"), of(folder, "part1")
    use_at(old, 10)
    use_at(new, 1)
    old, new = of(folder, "part0"), of(folder, "part1")
    assert dropped(folder, None, None, NOW) == {}
    assert dropped(folder, 11, None, NOW) == {}
    assert list(dropped(folder, 9, None, NOW)) == [old.folder]
    assert list(dropped(folder, 0.5, None, NOW)) == [new.folder, old.folder]
    assert list(dropped(folder, None, old.bytes + new.bytes, NOW)) == []
    assert list(dropped(folder, None, old.bytes + new.bytes - 1, NOW)) == [old.folder]
    assert list(dropped(folder, None, 0, NOW)) == [new.folder, old.folder]


def test_an_entry_that_is_read_stays(folder: Path, tmp_path: Path):
    corpus = numbered_corpus(tmp_path, 30)
    cached = store(NumberTeacher(), corpus, folder)
    assert isinstance(cached, CachedTeacher)
    one = of(folder, "part0")
    assert not delete(one.folder)
    code, output = run("gc", "--budget", "0", "--yes")
    assert code == 0
    assert f"kept {one.folder.name}: a process uses it" in output
    assert cached.reader.read(np.array([7]), 6, corpus.batch(np.array([7])).rows.device)["pooled.text"][0, 0] == 7
    del cached
    assert delete(one.folder)
    assert not one.folder.exists()


def test_opening_an_entry_is_using_it(folder: Path, tmp_path: Path):
    use_at(of(folder, "part0"), 10)
    store(NumberTeacher(), numbered_corpus(tmp_path, 30), folder)
    assert (datetime.datetime.now(datetime.UTC) - of(folder, "part0").used).total_seconds() < 3600


def test_a_damaged_entry_is_made_anew_after_gc(folder: Path, tmp_path: Path):
    flip_byte(of(folder, "part0"))
    with pytest.raises(StoreError, match="mmkd cache gc --yes"):
        store(NumberTeacher(), numbered_corpus(tmp_path, 30), folder)
    run("gc", "--yes")
    store(NumberTeacher(), numbered_corpus(tmp_path, 30), folder)


def test_looking_at_a_cache_imports_no_torch(folder: Path):
    code = (
        "import sys; from typer.testing import CliRunner; from mmkd.cli import app\n"
        "for name in ('list', 'verify', 'gc'):\n"
        "    assert CliRunner().invoke(app, ['cache', name]).exit_code == 0\n"
        "assert 'torch' not in sys.modules\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder, env=environment)
