"""The journal: every damage is seen and named, a torn last line never counted, and what was written stays."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path

import pytest

from mmkd.disk import DiskError
from mmkd.sweep.journal import CHECK, Journal, JournalError, read_journal

EVENTS = [{"event": "begin", "é": [1, 2.5, None]}, {"event": "chosen", "trial": 0}, {"event": "ended", "x": 0.1 + 0.2}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sweep" / "journal.jsonl"
    with Journal(path) as journal:
        for event in EVENTS:
            journal.write(event)
    return path


def plain(events: list[dict]) -> list[dict]:
    return [{key: value for key, value in event.items() if key != CHECK} for event in events]


def test_what_was_written_is_read(path: Path):
    assert plain(read_journal(path)) == EVENTS
    with Journal(path) as journal:
        assert plain(journal.events) == EVENTS
        journal.write({"event": "more"})
    assert plain(read_journal(path)) == [*EVENTS, {"event": "more"}]


def test_a_line_that_was_cut_off_anywhere_never_counted_and_the_journal_goes_on(path: Path):
    data = path.read_bytes()
    start = data.rstrip(b"\n").rindex(b"\n") + 1
    for size in range(start, len(data)):
        path.write_bytes(data[:size])
        assert plain(read_journal(path)) == EVENTS[:2]
        with Journal(path) as journal:
            journal.write(EVENTS[2])
        assert path.read_bytes() == data


def test_every_changed_lost_moved_or_repeated_line_is_named(path: Path):
    lines = path.read_bytes().splitlines(keepends=True)
    damages = {
        "a value": (b"".join([lines[0], lines[1].replace(b'"trial": 0', b'"trial": 1'), lines[2]]), 2),
        "a check": (b"".join([lines[0].replace(b'"check": "', b'"check": "0'), *lines[1:]]), 1),
        "a lost line": (b"".join([lines[0], lines[2]]), 2),
        "the first line lost": (b"".join(lines[1:]), 1),
        "moved": (b"".join([lines[1], lines[0], lines[2]]), 1),
        "repeated": (b"".join([lines[0], lines[0], *lines[1:]]), 2),
        "no JSON": (b"".join([lines[0], b"x\n", *lines[1:]]), 2),
        "a list": (b"".join([lines[0], b"[1]\n", *lines[1:]]), 2),
        "an empty line": (b"".join([lines[0], b"\n", *lines[1:]]), 2),
        "a blank": (b"".join([lines[0].replace(b": ", b":  ", 1), *lines[1:]]), 1),
        "no UTF-8": (b"".join([lines[0].replace("é".encode(), b"\xff"), *lines[1:]]), 1),
    }
    for name, (data, line) in damages.items():
        path.write_bytes(data)
        with pytest.raises(JournalError, match=rf"journal.jsonl:{line}: .*--fresh"):
            read_journal(path)
        with pytest.raises(JournalError):
            Journal(path)
        assert path.read_bytes() == data, name


def test_any_flipped_bit_is_seen(path: Path):
    data = path.read_bytes()
    draws = random.Random(0)
    last = data.rstrip(b"\n").rindex(b"\n")
    for _ in range(200):
        place, bit = draws.randrange(last), draws.randrange(8)
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        with pytest.raises(JournalError):
            read_journal(path)


def test_a_full_disk_leaves_the_lines_before(path: Path, monkeypatch: pytest.MonkeyPatch):
    before = path.read_bytes()
    real = os.write
    with Journal(path) as journal:
        monkeypatch.setattr(os, "write", lambda place, data: real(place, data[:5]))
        with pytest.raises(DiskError, match=r"journal.jsonl.*bytes to be written"):
            journal.write({"event": "lost"})
        monkeypatch.undo()
        assert path.read_bytes() == before
        journal.write({"event": "kept"})
    assert [event["event"] for event in read_journal(path)] == ["begin", "chosen", "ended", "kept"]


def test_numbers_come_back_with_every_digit(path: Path):
    assert json.loads(path.read_bytes().splitlines()[2])["x"] == 0.1 + 0.2
