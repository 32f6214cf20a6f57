"""Keeping runs: what is copied into the ledger, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.record import Code, RunRecord
from mmkd.report.error import ReportError
from mmkd.report.keep import keep
from mmkd.report.records import load_records

MakeRecord = Callable[..., RunRecord]
WriteRecords = Callable[..., Path]

DIRTY = Code(version="0.1.0", commit="beef" * 10, diff="d1ff" * 16)
NOWHERE = Code(version="0.1.0", commit=None, diff=None)


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_records_and_predictions_are_copied(make_record: MakeRecord, write_runs: WriteRecords, ledger: Path) -> None:
    runs = write_runs(make_record(seed=0), make_record(teacher="text"))
    names = ["student-seed0", "teacher-text-seed0"]
    assert keep(runs, ledger) == [ledger / "quickstart" / f"{name}.json" for name in names]
    assert files(ledger) == [f"quickstart/{name}{suffix}" for name in names for suffix in (".json", ".parquet")]
    assert load_records(ledger) == load_records(runs)


def test_keeping_twice_changes_nothing(make_record: MakeRecord, write_runs: WriteRecords, ledger: Path) -> None:
    runs = write_runs(make_record())
    keep(runs, ledger)
    assert keep(runs, ledger) == []


def test_only_the_named_experiments(make_record: MakeRecord, write_runs: WriteRecords, ledger: Path) -> None:
    runs = write_runs(make_record(), make_record("alone"), make_record("dirty", code=DIRTY))
    assert keep(runs, ledger, names=["alone"]) == [ledger / "alone" / "student-seed0.json"]
    with pytest.raises(ReportError, match=r"other: no record in .*; it has alone, dirty, quickstart"):
        keep(runs, ledger, names=["quickstart", "other"])
    assert files(ledger) == ["alone/student-seed0.json", "alone/student-seed0.parquet"]


@pytest.mark.parametrize(("code", "words"), [(DIRTY, "uncommitted changes"), (NOWHERE, "outside a repository")])
def test_code_that_no_commit_holds_is_refused(
    make_record: MakeRecord, write_runs: WriteRecords, ledger: Path, code: Code, words: str
) -> None:
    runs = write_runs(make_record(), make_record("alone", code=code))
    with pytest.raises(ReportError, match=f"run1/record.json: .*{words}"):
        keep(runs, ledger)
    assert files(ledger) == []
    assert len(keep(runs, ledger, allow_dirty=True)) == 2


def test_a_different_record_is_replaced_only_on_request(
    make_record: MakeRecord, write_runs: WriteRecords, ledger: Path
) -> None:
    keep(write_runs(make_record(parameters=1)), ledger)
    runs = write_runs(make_record(parameters=2, created="2026-12-01T00:00:00+00:00"))
    with pytest.raises(ReportError, match=r"run1/record.json: .*student-seed0.json holds another record"):
        keep(runs, ledger)
    assert [record.parameters for record in load_records(ledger)] == [1]
    assert len(keep(runs, ledger, replace=True)) == 1
    assert [record.parameters for record in load_records(ledger)] == [2]


def test_predictions_that_were_lost_come_back(make_record: MakeRecord, write_runs: WriteRecords, ledger: Path) -> None:
    runs = write_runs(make_record())
    keep(runs, ledger)
    predictions = ledger / "quickstart" / "student-seed0.parquet"
    predictions.unlink()
    assert len(keep(runs, ledger)) == 1
    predictions.write_bytes(b"others")
    with pytest.raises(ReportError, match="or other predictions"):
        keep(runs, ledger)


def test_edited_runs_are_refused(make_record: MakeRecord, write_runs: WriteRecords, ledger: Path) -> None:
    runs = write_runs(make_record())
    path = runs / "run0" / "record.json"
    path.write_text(path.read_text("utf-8").replace('"value": 0.6,', '"value": 0.9,'), "utf-8")
    with pytest.raises(ReportError, match=r"run0/record.json: .*does not match its own sha256"):
        keep(runs, ledger)
    path.write_text("{}", "utf-8")
    with pytest.raises(ReportError, match=r"run0/record.json: not a run record"):
        keep(runs, ledger)
    assert not ledger.exists()


def test_a_name_cannot_lead_out_of_the_ledger(make_record: MakeRecord, write_runs: WriteRecords, ledger: Path) -> None:
    runs = write_runs(make_record("../elsewhere"))
    with pytest.raises(ReportError, match="leads out of"):
        keep(runs, ledger)
    assert not (ledger.parent / "elsewhere").exists()
