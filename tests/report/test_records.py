"""Finding records in both layouts, and noticing those that are not as their run wrote them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.record import RecordError, RunRecord
from mmkd.report.error import ReportError
from mmkd.report.records import find_records, find_runs, load_records

MakeRecord = Callable[..., RunRecord]
WriteRecords = Callable[..., Path]


def test_both_layouts_give_the_same_records(
    make_record: MakeRecord, write_ledger: WriteRecords, write_runs: WriteRecords
) -> None:
    records = [make_record(seed=1), make_record(seed=0), make_record(teacher="text")]
    found = load_records(write_ledger(*records))
    assert [each.file_name for each in found] == [
        "quickstart/student-seed0.json",
        "quickstart/student-seed1.json",
        "quickstart/teacher-text-seed0.json",
    ]
    assert load_records(write_runs(*records)) == found


def test_other_files_of_a_scratch_run_are_no_records(make_record: MakeRecord, write_runs: WriteRecords) -> None:
    folder = write_runs(make_record())
    (folder / "run0" / "experiment.json").write_text("{}", "utf-8")
    (folder / "run0" / "sample-seed0.json").write_text("{}", "utf-8")
    assert len(load_records(folder)) == 1


def test_the_latest_scratch_record_wins_and_names_the_others(make_record: MakeRecord, write_runs: WriteRecords) -> None:
    times = ["2026-11-02T10:00:00+00:00", "2026-11-02T11:30:00+02:00", "2026-11-02T10:30:00"]
    folder = write_runs(*(make_record(created=time) for time in times))
    (found,) = find_runs(folder)
    assert found.path == folder / "run2" / "record.json"
    assert found.superseded == (folder / "run0" / "record.json", folder / "run1" / "record.json")


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    for read in (load_records, find_runs):
        with pytest.raises(ReportError, match="absent: no such folder"):
            read(tmp_path / "absent")


def test_an_empty_folder_has_no_records(tmp_path: Path) -> None:
    assert load_records(tmp_path) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"value": 0.6,', '"value": 0.7,', "does not match its own sha256"),
        ('"parameters": 1234567', '"parameters": 1234568', "does not match its own sha256"),
        ("0.30000000000000004", "0.30000000000000005", "its text is not what the run wrote"),
        ('"seed": 0,', '"seed": 1,\n "seed": 0,', "its text is not what the run wrote"),
        ('"role": "student"', '"role": "scholar"', "not a run record .*role: .*'student' or 'teacher'"),
        ('{\n "schema', '{{\n "schema', "not a run record"),
        ('"created": "2026', '"created": "two', "not a run record .*isoformat"),
    ],
)
def test_an_edited_record_is_not_trusted(
    make_record: MakeRecord, write_ledger: WriteRecords, old: str, new: str, words: str
) -> None:
    folder = write_ledger(make_record())
    path = folder / "quickstart" / "student-seed0.json"
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(RecordError, match=f"student-seed0.json: .*{words}"):
        load_records(folder)


def test_predictions_belong_to_the_record(
    make_record: MakeRecord, write_ledger: WriteRecords, write_runs: WriteRecords
) -> None:
    folders = [
        (write_ledger(make_record()), "student-seed0.parquet"),
        (write_runs(make_record()), "predictions.parquet"),
    ]
    for folder, name in folders:
        (path,) = folder.rglob(name)
        path.write_bytes(b"others")
        with pytest.raises(RecordError, match=f"its predictions {name} do not match it"):
            load_records(folder)
        path.unlink()
        with pytest.raises(RecordError, match=f"its predictions {name} are missing"):
            load_records(folder)


def test_a_record_under_another_name_is_not_trusted(make_record: MakeRecord, write_ledger: WriteRecords) -> None:
    folder = write_ledger(make_record(seed=0)) / "quickstart"
    for suffix in (".json", ".parquet"):
        (folder / f"student-seed0{suffix}").rename(folder / f"student-seed7{suffix}")
    (found,) = find_records(folder.parent)
    assert found.name == "quickstart/student-seed7.json"
    assert found.fault is not None and "it is the record quickstart/student-seed0.json" in found.fault


def test_every_digit_of_a_record_counts(make_record: MakeRecord, write_ledger: WriteRecords) -> None:
    folder = write_ledger(make_record())
    path = folder / "quickstart" / "student-seed0.json"
    text = path.read_text("utf-8")
    digits = [i for i, character in enumerate(text) if character.isdigit()]
    assert len(digits) > 100
    for i in digits:
        path.write_text(text[:i] + str((int(text[i]) + 1) % 10) + text[i + 1 :], "utf-8")
        (found,) = find_records(folder)
        assert found.fault is not None, text[i - 20 : i + 20]
    path.write_text(text, "utf-8")
    assert find_records(folder)[0].fault is None
