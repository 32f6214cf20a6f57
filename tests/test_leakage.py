"""Test labels have no part in what is selected: other ones give the same weights, scores on validation and choices."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress
from test_sweep import mmkd as command_line

import mmkd.seed
from lab import flipped as flipped_source
from mmkd.data.base import Example
from mmkd.data.corpus import Corpus
from mmkd.data.mix import Mix
from mmkd.data.sealed import Sealed
from mmkd.openings import note_opening, openings_of
from mmkd.plan.plan import plan_experiment
from mmkd.ready import make_ready
from mmkd.record import RecordError, RunRecord
from mmkd.run import run_experiment
from mmkd.sweep.journal import read_journal
from mmkd.sweep.trials import trials_of
from tiny_project import CARDS, experiment, make_project, plain_experiment, student_alone

QUIET = Progress(disable=True)


def project_of(folder: Path) -> Path:
    """A project whose card of market_notes has the source that can turn its test labels round."""
    near = make_project(folder)
    text = (CARDS / "market_notes.md").read_text("utf-8").replace("{kind: market_notes}", "{kind: lab.flipped}")
    (folder / "data_cards" / "market_notes.md").write_text(text, "utf-8")
    return near


def flipped(plain: dict[str, Any], flip: bool) -> dict[str, Any]:
    plain["data"]["market_notes"]["options"]["flip"] = flip
    return plain


def run(plain: dict[str, Any], near: Path, command: str = "run", **options: Any) -> list[RunRecord]:
    return run_experiment(experiment(plain), near, QUIET, command, say=lambda text: None, **options)


def selected(records: list[RunRecord]) -> list[Any]:
    """All that is chosen before the end: weights, epochs, histories, scores on validation."""
    return [(r.start, r.weights, r.selection, r.history, r.scores["validation"]) for r in records]


def test_other_test_labels_select_the_same(tmp_path: Path):
    found = []
    for flip in (False, True):
        plain = flipped(plain_experiment() | {"seeds": [0]}, flip)
        found.append(run(plain, project_of(tmp_path / str(flip))))
    assert all(record.weights for record in found[0] if record.role == "student")
    assert selected(found[0]) == selected(found[1])
    for one, other in zip(*found, strict=True):
        assert one.scores["test"] != other.scores["test"]  # they were other labels


def leaking(mix: Mix, *arguments: Any) -> Corpus:
    with mix.test_opened():
        return REAL(mix, "test", *arguments[1:])


REAL = Mix.split


def test_a_run_that_selects_on_test_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The positive control: the comparison above fails for it, where the seal is broken as well."""
    monkeypatch.setattr(Mix, "split", lambda mix, name, *rest: REAL(mix, "test", *rest))
    with pytest.raises(Sealed, match="split test: the labels of the test split are sealed"):
        run(student_alone(), project_of(tmp_path / "sealed"))
    monkeypatch.setattr(Mix, "split", leaking)
    found = [selected(run(flipped(student_alone(), flip), project_of(tmp_path / str(flip)))) for flip in (False, True)]
    assert found[0] != found[1]


def test_until_the_end_whoever_reads_test_labels_is_refused(tmp_path: Path):
    ready = make_ready(experiment(student_alone()), project_of(tmp_path / "project"), QUIET)
    mix = ready.workspace.mix
    (member,) = mix.members
    row = next(iter(member.data.read("test")))
    assert isinstance(row, Example) and row.words
    for read in (
        lambda: row.labels["sentiment"],
        lambda: row.labels.get("risk"),
        lambda: "ner" in row.labels,
        lambda: dict(row.labels),
        lambda: len(row.labels),
        lambda: mix.split("test", ready.readers()),
        lambda: mix.ceilings("test"),
    ):
        with pytest.raises(Sealed, match="the labels of the test split are sealed; they are read once, at the end"):
            read()
    assert next(iter(member.data.read("validation"))).labels["sentiment"] in (0, 1, 2)
    with mix.test_opened():
        corpus = mix.split("test", ready.readers())
        assert corpus.labelled("sentiment") == 16
        assert next(iter(member.data.read("test"))).labels["sentiment"] in (0, 1, 2)
    assert mix.unlabelled("test", ready.readers(), ["ner"]).labelled("ner") == 0
    with pytest.raises(Sealed):
        mix.split("test", ready.readers())


def test_the_seal_is_closed_while_anything_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Also for the second seed, after the first has been evaluated."""
    states: list[tuple[str, bool]] = []
    mixes: list[Mix] = []
    opened, trained, split = Mix.test_opened, mmkd.seed.train, Mix.split

    def watched(*arguments: Any, **options: Any) -> Any:
        states.append(("train", mixes[0]._seal.is_open))
        found = trained(*arguments, **options)
        states.append(("trained", mixes[0]._seal.is_open))
        return found

    def seen(mix: Mix, name: str, *rest: Any) -> Corpus:
        mixes.append(mix)
        states.append((name, mix._seal.is_open))
        return split(mix, name, *rest)

    monkeypatch.setattr(mmkd.seed, "train", watched)
    monkeypatch.setattr(Mix, "split", seen)
    run(student_alone() | {"seeds": [0, 1]}, project_of(tmp_path / "project"))
    assert opened is Mix.test_opened
    one = [("validation", False), ("train", False), ("trained", False), ("test", True)]
    assert states == one * 2


def test_a_plan_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Mix, "test_opened", lambda mix: pytest.fail("opened"))
    plan_experiment(experiment(student_alone()), project_of(tmp_path / "project"), QUIET, measure=False)


def test_every_opening_is_counted(tmp_path: Path):
    near = project_of(tmp_path / "project")
    (first,) = run(student_alone(), near, "the first")
    assert (first.test_openings, [each.command for each in first.openings]) == (1, ["the first"])
    (found,) = run(student_alone(), near, "not run")  # finished already
    assert found == first
    (second,) = run(student_alone(), near, "the second", fresh=True)
    assert second.test_openings == 2
    assert [(each.who, each.command) for each in second.openings] == [("seed0", "the first"), ("seed0", "the second")]
    (other,) = run(student_alone(lr=2e-3), near, "another experiment")
    assert other.test_openings == 1


def test_a_damaged_ledger_is_refused(tmp_path: Path):
    note_opening(tmp_path, "seed0", "run")
    assert [each.who for each in openings_of(tmp_path)] == ["seed0"]
    with (tmp_path / "openings.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(RecordError, match=r"openings\.jsonl: not the ledger of openings"):
        openings_of(tmp_path)


SWEEP = """\
experiment: ../tiny.yaml
trials: 2
search: {kind: random, seed: 0}
space:
  train.lr: {log_uniform: [1e-4, 1e-2]}
"""


@pytest.mark.slow
def test_a_sweep_chooses_the_same(tmp_path: Path):
    chosen = []
    for flip in (False, True):
        near = project_of(tmp_path / str(flip))
        near.write_text(json.dumps(flipped(student_alone(), flip)), "utf-8")
        for name in ("sweeps", "lab"):
            (near.parent / name).mkdir()
        shutil.copy(flipped_source.__file__, near.parent / "lab" / "flipped.py")  # kinds are found where mmkd is called
        (near.parent / "sweeps" / "small.yaml").write_text(SWEEP, "utf-8")
        done = command_line(near.parent, "sweep", "sweeps/small.yaml")
        assert done.returncode == 0, done.stderr
        (journal,) = near.parent.glob("results/sweeps/*/*/journal.jsonl")
        trials = trials_of(read_journal(journal)).values()
        chosen.append([(trial.values, trial.rungs, trial.objectives, trial.curve, trial.status) for trial in trials])
        assert not list(near.parent.rglob("openings.jsonl"))
    assert chosen[0] == chosen[1] and len(chosen[0]) == 2
