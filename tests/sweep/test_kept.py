"""What a worker keeps between trials: only where nothing that was made ready can differ, and with the same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from mmkd.config.experiment import Train
from mmkd.config.load import load
from mmkd.ready import make_ready
from mmkd.seed import run_seed
from mmkd.sweep import kept
from mmkd.sweep.kept import OF_THE_LOOP, Kept
from tiny_project import make_project, plain_experiment

QUIET = Progress(disable=True)
SAME = [
    "train.lr=0.01",
    "train.epochs=3",
    "train.clip=null",
    "train.batch_size=4",
    "losses.words.weight=2",
    "losses.bert_ner.temperature=4",
    "weighting={kind: fixed}",
    "losses.crossed=null",  # of a teacher that others ask too
    "seeds=[5]",
    "description=another",
]
OTHER = [
    "student.width=24",
    "student.dropout=0.3",
    "train.precision=bf16",
    "train.threads=2",
    "train.cache=false",
    "train.cache_dtype=fp32",
    "train.preflight=true",
    "data.market_notes.limit={train: 8}",
    "teachers.net.finetune.epochs=2",
    "augment={views: 2, text: {drop: 0.3}}",
]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    make_project(folder)
    plain = plain_experiment()
    plain["train"] |= {"preflight": False}
    (folder / "tiny.yaml").write_text(json.dumps(plain), "utf-8")
    return folder / "tiny.yaml"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Experiments that were made ready anew; nothing is."""
    found: list[Any] = []

    def make(experiment: Any, near: Path, progress: Progress) -> Any:
        found.append(experiment)
        return kept.Ready(_Workspace(experiment), {}, {}, {"open": 1.0, "teach": 2.0})

    monkeypatch.setattr(kept, "make_ready", make)
    monkeypatch.setattr(kept, "replace", lambda old, **new: type(old)(**{**vars(old), **new}))
    return found


class _Workspace:
    def __init__(self, experiment: Any, progress: Any = None) -> None:
        self.experiment, self.progress = experiment, progress


@pytest.mark.parametrize(("override", "again"), [(each, False) for each in SAME] + [(each, True) for each in OTHER])
def test_what_is_made_anew(target: Path, made: list[Any], override: str, again: bool):
    keeps = Kept()
    keeps.ready(load(target), target, QUIET)
    experiment = load(target, [override])
    ready = keeps.ready(experiment, target, QUIET)
    assert len(made) == 1 + again
    assert ready.workspace.experiment == experiment
    assert ready.seconds == ({"open": 1.0, "teach": 2.0} if again else {"open": 0.0, "teach": 0.0})


def test_a_teacher_that_no_loss_asks_any_more_makes_it_another(target: Path, made: list[Any]):
    keeps = Kept()
    keeps.ready(load(target), target, QUIET)
    keeps.ready(load(target, ["losses.net_risk=null", "losses.patches=null", "losses.pairs=null"]), target, QUIET)
    assert len(made) == 2


def test_another_file_of_the_same_content_is_made_ready_by_itself(target: Path, made: list[Any], tmp_path: Path):
    keeps = Kept()
    keeps.ready(load(target), target, QUIET)
    keeps.ready(load(target), tmp_path / "tiny.yaml", QUIET)
    assert len(made) == 2


def test_keys_of_the_loop_are_keys_of_training():
    assert set(Train.model_fields) >= OF_THE_LOOP


def test_a_trial_on_what_is_kept_has_the_numbers_of_one_by_itself(target: Path, tmp_path: Path):
    keeps = Kept()
    changed = ["train.lr=0.003", "losses.words.weight=2", "weighting={kind: fixed}"]
    first = keeps.ready(load(target), target, QUIET)
    run_seed(first, 0, tmp_path / "first", "test", test=False)
    reused = keeps.ready(load(target, changed), target, QUIET)
    assert reused.teachers is first.teachers
    record = run_seed(reused, 0, tmp_path / "reused", "test", test=False)
    alone = run_seed(make_ready(load(target, changed), target, QUIET), 0, tmp_path / "alone", "test", test=False)
    assert record.weights == alone.weights and record.teachers == alone.teachers
    assert record.experiment == alone.experiment and record.data == alone.data
