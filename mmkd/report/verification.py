"""A record and the one of its seed run again: which numbers are equal, which differ and where first, and under what.

Numbers are equal to the last bit, or they differ: there is no tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table as Grid

from mmkd.record import RunRecord

ABSENT = "not in the record"


@dataclass(frozen=True)
class Line:
    """One line of the comparison. equal: None where the record does not hold it. detail: the first difference."""

    what: str
    equal: bool | None
    detail: str = ""


@dataclass(frozen=True)
class Verification:
    """results: of the run. circumstances: those that differ."""

    results: tuple[Line, ...]
    circumstances: tuple[Line, ...]

    @property
    def holds(self) -> bool:
        """Whether every number that the record holds came out again."""
        return all(line.equal is not False for line in self.results)


def compare_records(record: RunRecord, again: RunRecord, predictions: Path | None, anew: Path) -> Verification:
    """record: that is verified. again: of the same seed, run now. predictions, anew: their files; None: not there."""
    results = (
        _sha256("weights at the start", record.start, again.start),
        _sha256("weights kept", record.weights, again.weights),
        _first("epoch kept", record.selection.model_dump(), again.selection.model_dump()),
        _history(record, again),
        _first("scores", _plain(record, "scores"), _plain(again, "scores")),
        _predictions(record, again, predictions, anew),
    )
    return Verification(results, tuple(_circumstances(record, again)))


def _plain(record: RunRecord, name: str) -> Any:
    return record.model_dump(mode="json")[name]


def _sha256(what: str, expected: str | None, found: str | None) -> Line:
    if expected is None:
        return Line(what, None, ABSENT)
    return Line(what, expected == found, "" if expected == found else f"{expected[:12]} | {(found or 'none')[:12]}")


def _first(what: str, expected: Any, found: Any) -> Line:
    difference = next(differences(expected, found), None)
    return Line(what, difference is None, "" if difference is None else _in_words(*difference))


def _in_words(path: tuple[str, ...], expected: Any, found: Any) -> str:
    return f"{'.'.join(path)}: {expected!r} | {found!r}"


def _history(record: RunRecord, again: RunRecord) -> Line:
    """Epoch by epoch; what a record's version did not write down yet is not compared."""
    if len(record.history) != len(again.history):
        return Line("history", False, f"{len(record.history)} epochs | {len(again.history)}")
    for expected, found in zip(record.history, again.history, strict=True):
        known = {name: found.get(name) for name in expected}
        difference = next(differences(expected, known), None)
        if difference is not None:
            return Line("history", False, f"epoch {expected.get('epoch')}, {_in_words(*difference)}")
    return Line("history", True)


def differences(expected: Any, found: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Where two plain values differ, as (path, one, other), in the order of the first."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in dict.fromkeys((*expected, *found)):
            yield from differences(expected.get(key), found.get(key), (*path, str(key)))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for number, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from differences(one, other, (*path, str(number)))
    elif expected != found and not (expected != expected and found != found):  # NaN is no number's equal, nor its own
        yield path, expected, found


def _predictions(record: RunRecord, again: RunRecord, old: Path | None, new: Path) -> Line:
    if record.predictions is None:
        return Line("predictions", None, ABSENT)
    if record.predictions == again.predictions:
        return Line("predictions", True)
    if old is None:
        text = (
            f"sha256 {record.predictions[:12]} | {(again.predictions or 'none')[:12]}; the file is not there to compare"
        )
        return Line("predictions", False, text)
    import pyarrow.parquet as pq

    expected, found = pq.read_table(old).to_pylist(), pq.read_table(new).to_pylist()
    if len(expected) != len(found):
        return Line("predictions", False, f"{len(expected)} rows | {len(found)}")
    for one, other in zip(expected, found, strict=True):
        difference = next(differences(one, other), None)
        if difference is not None:
            return Line("predictions", False, f"{one['id']}, {one['task']}: {_in_words(*difference)}")
    return Line("predictions", True, "every row; the file is written otherwise")


def _circumstances(record: RunRecord, again: RunRecord) -> Iterator[Line]:
    """Those that differ, one line each. What a record's version did not write down yet is left out."""
    one, other = record.model_dump(mode="json", exclude_unset=True), again.model_dump(mode="json")
    for name in ("code", "machine", "packages", "data", "rows", "teachers"):
        expected, found = one[name], other[name]
        if name == "machine":
            found = {key: value for key, value in found.items() if key in expected}
        for path, was, now in differences(expected, found):
            yield Line(".".join((name, *path)), False, f"{_short(was)} | {_short(now)}")


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def verification_table(verification: Verification) -> Grid:
    """The comparison, to print: numbers first, then the circumstances that differ."""
    grid = Grid(box=box.SIMPLE_HEAD, title="the record | run again", title_justify="left")
    for name in ("", "", "first difference"):
        grid.add_column(name, overflow="fold")
    words = {True: "equal", False: "DIFFERS", None: "unknown"}
    for line in verification.results:
        grid.add_row(line.what, words[line.equal], line.detail)
    grid.add_section()
    if not verification.circumstances:
        grid.add_row("circumstances", "equal", "")
    for line in verification.circumstances:
        grid.add_row(line.what, "other", line.detail)
    return grid
