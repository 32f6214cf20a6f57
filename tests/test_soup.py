"""Means of students' weights: the recipes against loops, what is refused, and the mean as a run's student."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from rich.progress import Progress
from typer.testing import CliRunner

from mmkd import checkpoint
from mmkd.cli import app
from mmkd.data.mix import Mix
from mmkd.evaluate import evaluate
from mmkd.ready import make_ready
from mmkd.record import RunRecord, read_record
from mmkd.report.tables import table_of
from mmkd.run import run_experiment
from mmkd.soup import SoupError, _member, _require_alike, greedy, make_soup, mean_of
from mmkd.student.stored import read_student
from tiny_project import experiment, make_project, student_alone

QUIET = Progress(disable=True)


def going_on(near: Path, **train: Any) -> dict[str, Any]:
    """Three seeds that start from the first student."""
    (start,) = near.parent.glob("results/runs/first-*/seed0")
    plain = student_alone(epochs=1, lr=3e-3, **train) | {"name": "going_on", "seeds": [0, 1, 2]}
    plain["student"] = {"start": {"run": str(start), "reads": ["text", "image"]}}
    return plain


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two students that started by themselves, and three that start from the first of them."""
    path = make_project(tmp_path_factory.mktemp("soup") / "project")
    for plain in (student_alone(epochs=1) | {"name": "first", "seeds": [0, 1]}, going_on):
        own = plain(path) if callable(plain) else plain
        run_experiment(experiment(own), path, QUIET, "the command", say=lambda line: None)
    return path


def seeds(near: Path, name: str = "going_on") -> list[Path]:
    return sorted(near.parent.glob(f"results/runs/{name}-*/seed*"))


def soup(near: Path, *runs: Path, name: str = "soup", recipe: Any = "uniform") -> RunRecord:
    return make_soup([str(run) for run in runs], name, recipe, near, QUIET, "the command", lambda line: None)


def folder_of(near: Path, record: RunRecord) -> Path:
    (found,) = near.parent.glob(f"results/runs/{record.name}-*/seed{record.seed}")
    return found


def test_a_mean_is_that_of_each_number_and_whole_numbers_are_the_firsts():
    one, other = ({"w": torch.tensor(w), "n": torch.tensor(n)} for w, n in (([0.1, 3.0], 4), ([0.3, -1.0], 9)))
    found = mean_of([one, other, other])
    assert found["w"].tolist() == pytest.approx([0.7 / 3, 1 / 3]) and found["w"].dtype == torch.float32
    assert found["n"].item() == 4


def test_greedy_keeps_those_that_do_not_lower_the_score():
    """Scores of sets, by a table: the paper's recipe, followed by hand."""
    table = {"a": 0.5, "b": 0.7, "c": 0.6, "d": 0.4, "bc": 0.65, "ab": 0.7, "abd": 0.8}
    asked: list[str] = []

    def score(members: Any) -> float:
        asked.append("".join(sorted(members)))
        return table[asked[-1]]

    assert greedy(["a", "b", "c", "d"], score) == ["b", "a", "d"]  # c lowers b; a leaves it as it is; d raises it
    assert asked == ["a", "b", "c", "d", "bc", "ab", "abd"]


def test_the_uniform_mean_is_a_student_with_a_record(near: Path, monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    split = Mix.split
    monkeypatch.setattr(Mix, "split", lambda self, name, *rest: opened.append(name) or split(self, name, *rest))
    (run,) = {each.parent for each in seeds(near)}
    record = soup(near, run)
    assert opened == ["validation", "test"] and record.test_openings == 1
    own = checkpoint.load(folder_of(near, record) / "student")[0]
    members = [checkpoint.load(each / "student")[0] for each in seeds(near)]
    for name, value in own.items():
        by_hand = (members[0][name].double() + members[1][name].double() + members[2][name].double()) / 3
        assert torch.equal(value, by_hand.float()) or not value.is_floating_point()
    assert not any(torch.equal(own["fuse.1.weight"], member["fuse.1.weight"]) for member in members)
    digests = {read_record(each / "record.json").digest for each in seeds(near)}
    assert record.soup is not None and record.soup.asked.keys() == record.soup.used.keys() == digests
    assert (record.role, record.seed, record.trained_parameters) == ("student", 0, 0)
    ready = make_ready(experiment(going_on(near)), near, QUIET)
    again = read_student(folder_of(near, record)).student({})
    with ready.workspace.mix.test_opened():
        corpus = ready.workspace.mix.split("test", ready.workspace.reader("student"))
        assert evaluate(again, corpus, ready.workspace.tasks, torch.device("cpu")).scores == record.scores["test"]


def test_the_greedy_mean_is_no_worse_on_validation_than_its_best(near: Path):
    record = soup(near, *seeds(near), name="greedy", recipe="greedy")
    alone = {read_record(each / "record.json").digest: read_record(each / "record.json") for each in seeds(near)}
    best = max(each.mean_score("validation") for each in alone.values())
    assert record.soup is not None and record.soup.recipe == "greedy"
    assert record.mean_score("validation") == record.selection.value >= best
    assert record.soup.used.keys() <= record.soup.asked.keys() == alone.keys()


def test_it_is_a_row_of_a_table(near: Path, tmp_path: Path):
    soup(near, *seeds(near))
    file = tmp_path / "soups.yaml"
    file.write_text(
        "title: means\nrows: {alone: {experiment: going_on}, mean: {experiment: soup}}\n"
        "columns: {mean: {score: mean_score}, trained: {value: trained_parameters}}\n",
        "utf-8",
    )
    table = table_of(file, near.parent / "results" / "runs")
    assert [(row.label, len(row.cells["mean"].values)) for row in table.rows] == [("alone", 3), ("mean", 1)]
    weights = sum(p.numel() for p in read_student(seeds(near)[0]).student({}).parameters())
    assert table.rows[0].cells["trained"].values == dict.fromkeys(range(3), weights)
    assert table.rows[1].cells["trained"].values == {0: 0}


def test_students_of_different_starts_are_refused(near: Path):
    with pytest.raises(SoupError, match=r"first-.*they started from different weights.*`student\.start`"):
        soup(near, *seeds(near, "first"))


def test_a_student_alone_or_twice_is_refused(near: Path):
    with pytest.raises(SoupError, match="found 1 students; expected two or more"):
        soup(near, seeds(near)[0])
    with pytest.raises(SoupError, match="found 2 students; expected two or more that differ"):
        soup(near, seeds(near)[0], seeds(near)[0])


def test_a_name_that_a_run_has_is_refused(near: Path):
    before = [(each / "record.json").read_bytes() for each in seeds(near)]
    with pytest.raises(SoupError, match="--name: found `going_on`"):
        soup(near, *seeds(near), name="going_on")
    assert [(each / "record.json").read_bytes() for each in seeds(near)] == before


def test_other_data_are_refused(near: Path):
    plain = going_on(near)
    plain["name"], plain["seeds"] = "other_data", [0]
    plain["data"]["market_notes"]["options"]["train"] = 20
    run_experiment(experiment(plain), near, QUIET, "the command", say=lambda line: None)
    with pytest.raises(SoupError, match="their data differ"):
        soup(near, seeds(near)[0], *seeds(near, "other_data"))


def test_other_tasks_are_refused(near: Path):
    plain = going_on(near)
    plain["name"], plain["seeds"] = "fewer", [0]
    del plain["tasks"]["ner"], plain["losses"]["ner"]
    run_experiment(experiment(plain), near, QUIET, "the command", say=lambda line: None)
    with pytest.raises(SoupError, match="their networks or tasks differ"):
        soup(near, seeds(near)[0], *seeds(near, "fewer"))


def test_an_ensemble_of_runs_is_a_row_too(near: Path, tmp_path: Path):
    """The mean of predictions needs no common start: each run is a teacher, the ensemble is evaluated as one."""
    runs = seeds(near, "first")
    plain = student_alone(epochs=1) | {"name": "together"}
    tasks = ["sentiment", "ner", "risk"]
    plain["teachers"] = {
        f"run{n}": {"kind": "run", "run": str(run), "reads": ["text", "image"], "tasks": tasks}
        for n, run in enumerate(runs)
    }
    plain["teachers"]["all"] = {"kind": "ensemble", "members": {"run0": 1.0, "run1": 1.0}, "tasks": tasks}
    records = run_experiment(experiment(plain), near, QUIET, "the command", say=lambda line: None)
    by_teacher = {record.teacher: record for record in records}
    ready = make_ready(experiment(student_alone() | {"name": "first"}), near, QUIET)
    students = [read_student(run).student({}).eval() for run in runs]
    with ready.workspace.mix.test_opened():
        corpus = ready.workspace.mix.split("test", ready.workspace.reader("student"))
    batch = corpus.batch(torch.arange(len(corpus)).numpy())
    with torch.no_grad():
        said = [student(batch).logits["risk"].softmax(-1) for student in students]
    (place,) = near.parent.glob("results/runs/together-*/teacher-all")
    rows = [row for row in pq.read_table(place / "predictions.parquet").to_pylist() if row["task"] == "risk"]
    by_id = {name: (said[0][n] + said[1][n]) / 2 for n, name in enumerate(batch.ids)}
    for row in rows:
        assert row["probabilities"] == pytest.approx(by_id[row["id"]].tolist(), abs=1e-5)
    file = tmp_path / "together.yaml"
    file.write_text(
        "title: together\nrows: {each: {experiment: first}, all: {experiment: together, role: teacher, teacher: all}}\n"
        "columns: {mean: {score: mean_score}}\n",
        "utf-8",
    )
    table = table_of(file, near.parent / "results" / "runs")
    assert table.rows[1].cells["mean"].values == {0: by_teacher["all"].mean_score("test")}


def test_data_that_changed_are_refused(near: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Mix, "fingerprints", lambda self: {"market_notes": "of other rows"})
    with pytest.raises(SoupError, match="the data are no longer those that it was trained on"):
        soup(near, *seeds(near))


def test_a_start_that_no_record_names_is_none(near: Path):
    members = [_member(each) for each in seeds(near)]
    _require_alike(members)  # the control
    unknown = [replace(each, record=each.record.model_copy(update={"start": None})) for each in members]
    with pytest.raises(SoupError, match="they started from different weights"):
        _require_alike(unknown)


def test_the_command_says_what_it_did(near: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(near.parent)
    runs = [os.path.relpath(each, near.parent) for each in seeds(near)]
    done = CliRunner().invoke(app, ["soup", *runs[:2], "--name", "by_command", "--greedy"])
    assert done.exit_code == 0, done.output
    (folder,) = near.parent.glob("results/runs/by_command-*/seed0")
    record = read_record(folder / "record.json")
    assert record.command == f"mmkd soup {runs[0]} {runs[1]} --name by_command --greedy"
    assert record.soup is not None and f"the mean of {len(record.soup.used)} of 2 students" in done.output
    refused = CliRunner().invoke(app, ["soup", runs[0], "--name", "one"])
    assert refused.exit_code == 2 and "expected two or more" in refused.output
