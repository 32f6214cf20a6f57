"""Records against the experiment files that made them: a change that a run would notice is named, no other is."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.record import RunRecord, Soup
from mmkd.report.staleness import stale
from mmkd.report.tables import check_tables

MakeRecord = Callable[..., RunRecord]
Write = Callable[..., RunRecord]

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "experiments" / "quickstart.yaml").read_text("utf-8")
COMMAND = "mmkd run experiments/quickstart.yaml train.lr=0.5 'seeds=[3]'"


@pytest.fixture
def record(make_record: MakeRecord, tmp_path: Path) -> RunRecord:
    """A record of the quickstart, with an override, whose experiment file lies below `tmp_path`."""
    write(tmp_path, TEXT)
    experiment = load(tmp_path / "experiments" / "quickstart.yaml", ["train.lr=0.5"])
    return make_record(experiment=experiment.dump(), command=COMMAND)


def write(folder: Path, text: str) -> None:
    (folder / "experiments").mkdir(exist_ok=True)
    shutil.copy(ROOT / "experiments" / "base.yaml", folder / "experiments")
    (folder / "experiments" / "quickstart.yaml").write_text(text, "utf-8")


def test_a_record_of_the_file_as_it_is_has_no_fault(record: RunRecord, tmp_path: Path) -> None:
    assert stale([record], tmp_path) == {}


def test_a_changed_value_is_named(record: RunRecord, tmp_path: Path) -> None:
    write(tmp_path, TEXT.replace("vocabulary: 2000", "vocabulary: 1999"))
    assert "vocabulary: 2000" in TEXT
    found = stale([record], tmp_path)["quickstart/student-seed0.json"]
    assert found == (
        "experiments/quickstart.yaml, with its overrides, says something else by now: `teachers.text.vocabulary` (2000 "
        "and 1999); run the experiment again"
    )


def test_what_changes_no_number_may_differ(record: RunRecord, tmp_path: Path) -> None:
    lines = ["description: other words", "seeds: [7]"]
    kept = [line for line in TEXT.splitlines() if not line.startswith(("description:", "seeds:"))]
    write(tmp_path, "\n".join([*kept, *lines]) + "\n")
    assert stale([record], tmp_path) == {}


def test_weights_that_are_on_another_machine_alone_are_no_fault(
    make_record: MakeRecord, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "    model: resnet18\n"
    assert line in TEXT
    write(tmp_path, TEXT.replace(line, line + "    weights: weights/net.safetensors\n"))
    elsewhere = tmp_path / "data" / "weights"
    elsewhere.mkdir(parents=True)
    (elsewhere / "net.safetensors").touch()
    monkeypatch.setenv("MMKD_DATA", str(elsewhere.parent))
    experiment = load(tmp_path / "experiments" / "quickstart.yaml", ["train.lr=0.5"])
    made = make_record(experiment=experiment.dump(), command=COMMAND)
    monkeypatch.delenv("MMKD_DATA")
    with pytest.raises(ConfigError, match="there is no"):
        load(tmp_path / "experiments" / "quickstart.yaml")
    assert stale([made], tmp_path) == {}


def test_a_file_that_is_refused_by_now_is_named(record: RunRecord, tmp_path: Path) -> None:
    write(tmp_path, TEXT.replace("vocabulary: 2000", "vocabluary: 2000"))
    found = stale([record], tmp_path)["quickstart/student-seed0.json"]
    assert "is refused by now: " in found and "teachers.text.vocabluary" in found


def test_a_record_that_this_version_does_not_read_is_named(record: RunRecord, tmp_path: Path) -> None:
    old = record.model_copy(update={"experiment": record.experiment | {"optimiser": {}}})
    assert "has keys of another version: " in stale([old], tmp_path)["quickstart/student-seed0.json"]


@pytest.mark.parametrize("command", ["mmkd run gone.yaml", "mmkd.run_experiment('a')", "mmkd soup a --name b"])
def test_what_no_file_made_is_not_compared(record: RunRecord, tmp_path: Path, command: str) -> None:
    write(tmp_path, "nothing: here\n")
    assert stale([record.model_copy(update={"command": command})], tmp_path) == {}
    soup = Soup(recipe="uniform", asked={}, used={})
    assert stale([record.model_copy(update={"soup": soup})], tmp_path) == {}


def test_the_check_names_its_cells(record: RunRecord, tmp_path: Path, write_ledger: Callable[..., Path]) -> None:
    write(tmp_path, TEXT.replace("vocabulary: 2000", "vocabulary: 1999"))
    ledger = write_ledger(record)
    tables = tmp_path / "tables"
    tables.mkdir()
    (problem, *_) = check_tables(tables, ledger, tmp_path)
    assert "student-seed0.json: experiments/quickstart.yaml" in problem and "no table rests on it" in problem
