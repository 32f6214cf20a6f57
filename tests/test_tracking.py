"""Runs in Weights & Biases and MLflow: what is shown, what a failure does, and that no number changes."""

from __future__ import annotations

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

import mmkd.tracking as tracking
from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.record import RunRecord, read_record
from mmkd.run import run_experiment
from mmkd.tracking import numbers_of
from tiny_project import experiment, make_project, student_alone

QUIET = Progress(disable=True)


class FakeRun:
    """As much of a W&B run as is used; it remembers all runs by id, as the service does."""

    runs: dict[str, FakeRun] = {}

    def __init__(self, **options: Any) -> None:
        self.options, self.logged, self.summary, self.code = options, {}, {}, None
        self.step = 0

    def log(self, numbers: dict[str, float], step: int) -> None:
        assert step >= self.step, "W&B drops steps that lie behind"
        self.logged[step], self.step = numbers, step + 1

    def finish(self, exit_code: int) -> None:
        self.code = exit_code


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeRun]:
    FakeRun.runs = {}

    def init(**options: Any) -> FakeRun:
        if options["id"] not in FakeRun.runs:
            FakeRun.runs[options["id"]] = FakeRun(**options)
        return FakeRun.runs[options["id"]]

    module = types.ModuleType("wandb")
    vars(module).update(init=init, Settings=dict, api=types.SimpleNamespace(api_key=None))
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    return FakeRun


def run(folder: Path, track: dict[str, Any] | None, say: Any = print, **train: Any) -> RunRecord:
    folder.mkdir(exist_ok=True)
    if not (folder / "data_cards").exists():
        make_project(folder)
    plain = student_alone(**{"epochs": 3, "preflight": False, **train}) | {"track": track}
    (record,) = run_experiment(experiment(plain), folder / "x.yaml", QUIET, "test", say=say)
    return record


OFFLINE = {"kind": "wandb", "offline": True}


def test_every_epoch_and_the_scores_at_the_end_are_shown(fake: type[FakeRun], tmp_path: Path):
    record = run(tmp_path, OFFLINE)
    (shown,) = fake.runs.values()
    assert shown.logged == {entry["epoch"]: numbers_of(entry) for entry in record.history}
    assert shown.logged[0]["validation/mean_score"] == record.history[0]["mean_score"]
    assert "terms/ner" in shown.logged[0] and any(tag.startswith("weights/") for tag in shown.logged[0])
    assert shown.summary["test/ner.entity_f1"] == record.scores["test"]["ner"]["entity_f1"].value
    assert (shown.summary["status"], shown.summary["digest"], shown.code) == ("finished", record.digest, 0)
    assert shown.options["config"]["train"]["epochs"] == 3 and shown.options["mode"] == "offline"
    settings = shown.options["settings"]
    assert settings["console"] == "off" and settings["disable_git"] and settings["disable_code"]


def test_following_a_run_changes_no_number_and_no_name(fake: type[FakeRun], tmp_path: Path):
    one, other = run(tmp_path / "a", OFFLINE), run(tmp_path / "b", None)
    assert one.weights == other.weights and one.experiment_hash == other.experiment_hash
    assert fake.runs


def test_a_run_that_broke_off_goes_on_there_and_no_epoch_is_shown_twice(
    fake: type[FakeRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    checkpoint = {"unit": "epochs", "every": 1}
    real = tracking.Tracking.log

    def breaks(self: tracking.Tracking, entry: dict[str, Any]) -> None:
        if entry["epoch"] == 2 and not broken:
            broken.append(1)
            raise RuntimeError("the power is out")
        real(self, entry)

    broken: list[int] = []
    monkeypatch.setattr(tracking.Tracking, "log", breaks)
    with pytest.raises(RuntimeError, match="power"):
        run(tmp_path, OFFLINE, checkpoint=checkpoint)
    (shown,) = fake.runs.values()
    assert (shown.summary["status"], shown.code, sorted(shown.logged)) == ("failed", 1, [0, 1])
    record = run(tmp_path, OFFLINE, checkpoint=checkpoint)
    (shown,) = fake.runs.values()
    assert shown.logged == {entry["epoch"]: numbers_of(entry) for entry in record.history}
    assert shown.summary["status"] == "finished"


@pytest.mark.parametrize("where", ["init", "log", "finish"])
def test_a_service_that_fails_is_named_once_and_stops_no_run(
    fake: type[FakeRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")

    def fails(*_: Any, **__: Any) -> None:
        raise ConnectionError("refused for 0123456789abcdef0123456789abcdef01234567")

    if where == "init":
        monkeypatch.setattr(sys.modules["wandb"], "init", fails)
    else:
        monkeypatch.setattr(fake, where, fails)
    said: list[str] = []
    monkeypatch.setattr("mmkd.workspace.Workspace.say", lambda self, text: said.append(text))
    record = run(tmp_path, {"kind": "wandb"})
    assert len(record.history) == 3
    (line,) = [each for each in said if each.startswith("track: ")]
    assert "the run goes on without" in line and "0123456789abcdef" not in line


def test_without_a_key_the_service_is_not_asked(fake: type[FakeRun], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr("mmkd.workspace.Workspace.say", lambda self, text: said.append(text))
    run(tmp_path, {"kind": "wandb"})
    assert not fake.runs and any("no key in WANDB_API_KEY" in line for line in said)


@pytest.mark.parametrize(("kind", "package"), [("wandb", "wandb"), ("mlflow", "mlflow")])
def test_a_package_that_is_missing_is_named_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, package: str
):
    import mmkd.config.track as track

    make_project(tmp_path)
    (tmp_path / "x.yaml").write_text(json.dumps(student_alone() | {"track": {"kind": kind}}), "utf-8")
    monkeypatch.setattr(track, "find_spec", lambda name: object())
    assert load(tmp_path / "x.yaml").track is not None
    monkeypatch.setattr(track, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(ConfigError, match=rf"track.kind: {kind} needs {package}; pip install 'mmkd\[{kind}\]'"):
        load(tmp_path / "x.yaml")


@pytest.mark.slow
def test_the_real_wandb_writes_what_can_be_synced(tmp_path: Path):
    pytest.importorskip("wandb")
    record = run(tmp_path, OFFLINE)
    (folder,) = tmp_path.glob("results/runs/*/seed0")
    (written,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    data = written.read_bytes()
    assert b"validation/mean_score" in data and record.digest.encode() in data
    assert read_record(folder / "record.json").digest == record.digest


@pytest.mark.slow
def test_the_real_mlflow_holds_epochs_parameters_scores_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    checkpoint = {"unit": "epochs", "every": 1}
    real, broken = tracking.Tracking.log, list[int]()

    def breaks(self: tracking.Tracking, entry: dict[str, Any]) -> None:
        if entry["epoch"] == 2 and not broken:
            broken.append(1)
            raise RuntimeError("the power is out")
        real(self, entry)

    monkeypatch.setattr(tracking.Tracking, "log", breaks)
    with pytest.raises(RuntimeError, match="power"):
        run(tmp_path, {"kind": "mlflow"}, checkpoint=checkpoint)
    record = run(tmp_path, {"kind": "mlflow"}, checkpoint=checkpoint)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'results' / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("mmkd").experiment_id])
    steps = client.get_metric_history(found.info.run_id, "validation/mean_score")
    assert [(each.step, each.value) for each in steps] == [(e["epoch"], e["mean_score"]) for e in record.history]
    assert found.data.params["train.epochs"] == "3" and found.data.tags["status"] == "finished"
    assert found.data.tags["digest"] == record.digest and found.info.status == "FINISHED"
    assert found.data.metrics["test/ner.entity_f1"] == record.scores["test"]["ner"]["entity_f1"].value
    assert os.environ.get("MLFLOW_TRACKING_URI") is None
