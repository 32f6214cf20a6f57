"""A student that ends in a teacher's head: trained, stored, gone on from, and a teacher in its turn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress

from mmkd import checkpoint
from mmkd.checkpoint import CheckpointError
from mmkd.config.load import from_plain
from mmkd.plan.plan import plan_experiment
from mmkd.plan.student import make_players, without_teachers
from mmkd.ready import make_ready
from mmkd.record import read_record
from mmkd.run import run_experiment
from mmkd.student.stored import read_student
from tiny_project import make_project, plain_experiment

HEAD = "heads.risk.head."


def taking() -> dict[str, Any]:
    """Two epochs of a student whose head for risk is the image teacher's; labels move what stands before it."""
    plain = plain_experiment()
    plain["name"] = "taking"
    plain["student"]["heads"] = {"risk": {"teacher": "net"}}
    plain["losses"] = {name: plain["losses"][name] for name in ("sentiment", "ner", "risk")}
    plain["losses"]["net_risk"] = {"kind": "simkd", "teacher": "net", "task": "risk"}
    plain["weighting"], plain["seeds"] = {"kind": "fixed"}, [0]
    plain["train"] |= {"weight_decay": 0.5, "average": {"kind": "ema", "decay": 0.5}}
    return plain


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the student was trained. Not to be changed."""
    path = make_project(tmp_path_factory.mktemp("taken") / "project")
    run_experiment(from_plain(taking()), path, Progress(disable=True), "the command", say=lambda line: None)
    return path


def seed_folder(near: Path) -> Path:
    (folder,) = near.parent.glob("results/runs/taking-*/seed0")
    return folder


def teachers_head(near: Path) -> dict[str, torch.Tensor]:
    (folder,) = near.parent.glob("results/teachers/net-*")
    weights = checkpoint.load(folder)[0]
    return {name.removeprefix("heads.risk."): value for name, value in weights.items() if name.startswith("heads.risk")}


def heads_of(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(HEAD): value for name, value in weights.items() if name.startswith(HEAD)}


def test_the_head_is_the_teachers_after_training_and_the_projector_has_learned(near: Path):
    ready = make_ready(from_plain(taking()), near, Progress(disable=True))
    assert all(prepared._teacher is None for prepared in ready.prepared.values())  # it speaks from the cache
    before, after = ready.student(0).state_dict(), checkpoint.load(seed_folder(near) / "student")[0]
    expected = teachers_head(near)
    assert expected
    for own in (heads_of(before), heads_of(after)):
        assert own.keys() == expected.keys()
        assert all(torch.equal(own[name], value) for name, value in expected.items())
    projector = [name for name in after if name.startswith("heads.risk.projector.")]
    assert projector and any(not torch.equal(before[name], after[name]) for name in projector)
    record = read_record(seed_folder(near) / "record.json")
    assert record.parameters == sum(parameter.numel() for parameter in ready.student(0).parameters())
    assert record.history[-1]["terms"]["net_risk"] < record.history[0]["terms"]["net_risk"]


def test_what_is_stored_says_all(near: Path):
    """Without the teacher or its folder; it predicts by the head behind the projector."""
    stored = read_student(seed_folder(near))
    student = stored.student({}).eval()
    assert stored.taken == student.taken == {"risk": student.get_submodule("heads.risk.projector")[-1].out_features}
    ready = make_ready(from_plain(taking()), near, Progress(disable=True))
    corpus = ready.workspace.mix.split("validation", ready.workspace.reader("student"))
    said = student(corpus.batch(torch.arange(4).numpy()))
    logits = ready.teachers["net"].taught_heads()["risk"](said.projected["risk"])
    torch.testing.assert_close(said.logits["risk"], logits)
    assert list(said.logits) == list(ready.workspace.tasks)


def going_on(near: Path) -> dict[str, Any]:
    plain = taking() | {"name": "going_on"}
    plain["student"] = {"start": {"run": str(seed_folder(near)), "reads": ["text", "image"]}}
    plain["student"]["heads"] = {"risk": {"teacher": "net"}}
    return plain


def test_another_student_goes_on_from_it_with_the_same_teacher_or_none(near: Path):
    earlier = checkpoint.load(seed_folder(near) / "student")[0]
    plain = going_on(near)
    own = make_ready(from_plain(plain), near, Progress(disable=True)).student(0).state_dict()
    assert own.keys() == earlier.keys() and all(torch.equal(own[name], value) for name, value in earlier.items())
    del plain["student"]["heads"]
    del plain["losses"]["net_risk"]
    plain["teachers"] = {}
    plain["data"]["market_notes"]["train"] = ["train"]
    student = make_ready(from_plain(plain), near, Progress(disable=True)).student(0)
    assert all(torch.equal(value, earlier[name]) for name, value in student.state_dict().items())
    assert not any(p.requires_grad for p in student.get_submodule("heads.risk.head").parameters())


def another_teacher(plain: dict[str, Any]) -> None:
    plain["teachers"]["net"]["finetune"]["seed"] = 5


def a_head_that_was_its_own(plain: dict[str, Any]) -> None:
    plain["teachers"]["bert"]["tasks"] = ["sentiment", "ner"]
    plain["student"]["heads"] = {"risk": {"teacher": "net"}, "sentiment": {"teacher": "bert"}}
    plain["losses"]["bert_sentiment"] = {"kind": "simkd", "teacher": "bert", "task": "sentiment"}


@pytest.mark.parametrize(
    ("change", "task"), [(another_teacher, "risk"), (a_head_that_was_its_own, "sentiment")], ids=["teacher", "own"]
)
def test_a_student_with_another_head_is_refused(near: Path, change: Callable[[dict[str, Any]], None], task: str):
    plain = going_on(near)
    change(plain)
    with pytest.raises(CheckpointError, match=rf"student\.heads\.{task}: found a teacher's head that the student of"):
        make_ready(from_plain(plain), near, Progress(disable=True)).student(0)


def test_as_a_teacher_it_teaches_but_has_no_head_of_its_own_to_give(near: Path):
    plain = taking() | {"name": "third"}
    plain["teachers"] = {"last": {"kind": "run", "run": str(seed_folder(near)), "reads": ["text", "image"],
                                  "tasks": ["risk"]}}  # fmt: skip
    plain["student"]["heads"] = {}
    plain["losses"]["net_risk"] = {"kind": "srrl", "teacher": "last", "task": "risk"}
    ready = make_ready(from_plain(plain), near, Progress(disable=True))
    corpus = ready.workspace.training(ready.workspace.readers)
    said = ready.teachers["last"](corpus.batch(torch.arange(8).numpy()))
    head = ready.teachers["last"].taught_heads()["risk"]
    torch.testing.assert_close(head(head.feature(said)), said.logits["risk"], rtol=1e-2, atol=1e-2)
    plain["student"]["heads"] = {"risk": {"teacher": "last"}}
    plain["losses"]["net_risk"] = {"kind": "simkd", "teacher": "last", "task": "risk"}
    with pytest.raises(ValueError, match="took its own head from another teacher"):
        make_ready(from_plain(plain), near, Progress(disable=True)).student(0)


def test_it_is_planned(near: Path):
    plan = plan_experiment(from_plain(taking()), near, Progress(disable=True), measure=False)
    record = read_record(seed_folder(near) / "record.json")
    assert plan.student.parameters == record.parameters
    alone = without_teachers(make_ready(from_plain(taking()), near, Progress(disable=True)).workspace)
    assert alone is not None and make_players(alone, {}).network.taken == {}
