"""A record's seed run again: equal where it is, and what differs is named with its place."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from typer.testing import CliRunner

import mmkd.train
import mmkd.verify
from mmkd.cli import app
from mmkd.record import Code, RecordError, RunRecord, read_record, write_record
from mmkd.report.verification import Verification
from mmkd.run import run_experiment
from mmkd.verify import verify_record
from tiny_project import experiment, make_project, plain_experiment, student_alone

QUIET = Progress(disable=True)


def run(plain: dict[str, Any], near: Path) -> Path:
    """The folder of the runs."""
    run_experiment(experiment(plain), near, QUIET, "run", say=lambda text: None)
    (folder,) = (near.parent / "results" / "runs").glob("tiny-*")
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The record of a student alone, two epochs. Not to be changed."""
    near = make_project(tmp_path_factory.mktemp("verify") / "project")
    return run(student_alone(), near) / "seed0" / "record.json"


def changed(path: Path, folder: str, **changes: Any) -> Path:
    """A copy of a record beside it, with the same predictions, that says other things and is whole."""
    target = path.parent.parent / folder / "record.json"
    shutil.rmtree(target.parent, ignore_errors=True)
    shutil.copytree(path.parent, target.parent)
    write_record(read_record(path).model_copy(update=changes), target)
    return target


def verify(path: Path) -> Verification:
    return verify_record(path, QUIET, "verify", say=lambda text: None)


def differing(found: Verification) -> dict[str, str]:
    return {line.what: line.detail for line in found.results if not line.equal}


def test_a_seed_comes_out_again_and_what_it_left_is_untouched(finished: Path):
    before = {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()}
    found = verify(finished)
    assert found.holds and differing(found) == {} and found.circumstances == ()
    assert [line.what for line in found.results] == [
        *("weights at the start", "weights kept", "epoch kept", "history", "scores", "predictions")
    ]
    assert {path: path.read_bytes() for path in finished.parent.rglob("*") if path.is_file()} == before
    again = read_record(finished.parent.parent / "verify-seed0" / "record.json")
    assert again.weights == read_record(finished).weights
    assert [each.who for each in again.openings][-1] == "verify-seed0"


def test_teachers_and_caches_are_found_or_made_again(tmp_path: Path):
    near = make_project(tmp_path / "project")
    folder = run(plain_experiment() | {"seeds": [1]}, near)
    assert verify(folder / "seed1" / "record.json").holds
    for made in ("teachers", "cache"):
        shutil.rmtree(near.parent / "results" / made)
    found = verify(folder / "seed1" / "record.json")
    assert found.holds and found.circumstances == ()
    with pytest.raises(RecordError, match=r"the record of teacher bert; expected a student's"):
        verify(folder / "teacher-bert" / "record.json")


def test_another_seed_differs_from_the_start(finished: Path):
    found = verify(changed(finished, "other", seed=5))
    assert not found.holds
    assert differing(found).keys() >= {"weights at the start", "weights kept", "history"}


def test_the_first_epoch_and_term_that_differ_are_named(finished: Path):
    record = read_record(finished)
    history = [dict(entry) for entry in record.history]
    history[1]["terms"] = {**history[1]["terms"], "ner": 0.5}
    history[1]["mean_score"] = 0.25
    found = verify(changed(finished, "history", history=history))
    right = record.history[1]["terms"]["ner"]
    assert set(differing(found)) == {"history"}
    assert differing(found)["history"] == f"epoch 1, terms.ner: 0.5 | {right!r}"


def test_a_random_number_that_is_not_seeded_is_found(finished: Path, monkeypatch: pytest.MonkeyPatch):
    """The positive control: a loop that draws from somewhere else in its second epoch."""
    real = mmkd.train.mix
    monkeypatch.setattr(mmkd.train, "mix", lambda *numbers: real(*numbers) + (len(numbers) > 2 and numbers[1] == 1))
    found = differing(verify(finished))
    assert "weights at the start" not in found
    assert found["history"].startswith("epoch 1, ")


def test_scores_and_predictions_are_compared(finished: Path):
    record = read_record(finished)
    scores = record.model_copy(deep=True).scores
    scores["test"]["risk"]["qwk"] = scores["test"]["risk"]["qwk"].model_copy(update={"value": 2.0})
    path = changed(finished, "scores", scores=scores, predictions="0" * 64)
    found = differing(verify(path))
    assert found["scores"].startswith("test.risk.qwk.value: 2.0 | ")
    assert set(found) == {"scores"}  # the file of the predictions says the same, row by row
    (path.parent / "predictions.parquet").unlink()
    assert "the file is not there to compare" in differing(verify(path))["predictions"]


def test_circumstances_that_differ_are_named(finished: Path):
    record = read_record(finished)
    changes = {
        "packages": {**record.packages, "torch": "1.0"},
        "machine": record.machine.model_copy(update={"cpu_features": "MMX"}),
        "data": {**record.data, "market_notes/train": "other"},
    }
    found = verify(changed(finished, "elsewhere", **changes))
    assert found.holds
    named = {line.what: line.detail for line in found.circumstances}
    assert named.keys() == {"packages.torch", "machine.cpu_features", "data.market_notes/train"}
    assert named["machine.cpu_features"].startswith("MMX | ")


def test_the_command_says_what_it_found_by_its_exit_code(finished: Path):
    runner = CliRunner()
    good = runner.invoke(app, ["run", "--verify", str(finished)])
    assert (good.exit_code, "DIFFERS" in good.output) == (0, False), good.output
    bad = runner.invoke(app, ["run", "--verify", str(changed(finished, "other", seed=5))])
    assert (bad.exit_code, "DIFFERS" in bad.output) == (1, True)
    assert runner.invoke(app, ["run", "--verify", str(finished), "seeds=[1]"]).exit_code == 2


def refused(path: Path) -> str:
    done = CliRunner().invoke(app, ["run", "--verify", str(path)])
    assert done.exit_code == 2, done.output
    return done.output


def test_code_that_cannot_be_had_is_refused(finished: Path):
    def with_code(commit: str | None, diff: str | None) -> Path:
        return changed(finished, "code", code=Code(version="0", commit=commit, diff=diff))

    assert "uncommitted changes (diff 222222222222)" in refused(with_code("1" * 40, "2" * 64))
    assert "outside a repository" in refused(with_code(None, None))
    assert "its commit 111111111111 is not in the repository" in refused(with_code("1" * 40, None))


def test_data_that_cannot_be_had_is_refused(finished: Path, tmp_path: Path):
    shutil.copytree(finished.parent.parent.parent.parent.parent, tmp_path / "project")
    (tmp_path / "project" / "data_cards" / "market_notes.md").unlink()
    (path,) = (tmp_path / "project").rglob("seed0/record.json")
    assert "found no data card `market_notes`" in refused(path)


def test_a_record_that_was_edited_is_refused(finished: Path):
    path = changed(finished, "edited")
    path.write_text(path.read_text("utf-8").replace('"epoch": 0', '"epoch": 3', 1), "utf-8")
    assert "does not match its own sha256" in refused(path)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # more than this machine may have cores
def test_the_same_seed_has_the_same_bits_with_any_number_of_workers(tmp_path: Path):
    found: list[RunRecord] = []
    for workers in (0, 1, 4):
        near = make_project(tmp_path / str(workers))
        found.append(read_record(run(student_alone(workers=workers), near) / "seed0" / "record.json"))
    assert found[0].weights == found[1].weights == found[2].weights is not None
    assert found[0].history == found[1].history == found[2].history
    assert found[0].predictions == found[1].predictions == found[2].predictions
