"""A student that starts from its teachers' blocks, in a run."""

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
from mmkd.ready import make_ready
from mmkd.run import run_experiment, run_folder
from mmkd.student.stored import read_student
from mmkd.teach import new_student
from tiny_project import make_project, plain_experiment, student_alone

VIT = {"model": "test_vit", "size": 48, "options": {"img_size": 48}}


def started() -> dict[str, Any]:
    """One epoch of a student with one block of each teacher; the text teacher reads longer texts than it."""
    plain = plain_experiment()
    plain["teachers"]["net"] |= VIT
    plain["student"] = {
        "text": {"start": {"teacher": "bert", "layers": [1]}, "max_tokens": 32},
        "image": {"start": {"teacher": "net", "layers": [2]}, "size": 48, "options": {"img_size": 48}},
        "width": 12,
    }
    plain["losses"] = {name: plain["losses"][name] for name in ("sentiment", "ner", "risk", "bert_ner", "net_risk")}
    plain["weighting"], plain["seeds"] = {"kind": "fixed"}, [0]
    plain["train"] |= {"epochs": 1}
    return plain


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose tiny experiment has run. Not to be changed."""
    path = make_project(tmp_path_factory.mktemp("started") / "project")
    run_experiment(from_plain(started()), path, Progress(disable=True), "the command", say=lambda line: None)
    return path


def test_it_starts_from_the_fine_tuned_weights_and_no_teacher_is_in_memory(near: Path):
    ready = make_ready(from_plain(started()), near, Progress(disable=True))
    assert all(prepared._teacher is None for prepared in ready.prepared.values())
    student = new_student(ready.workspace, ready.prepared, ready.teachers)
    assert all(prepared._teacher is None for prepared in ready.prepared.values())
    for modality, teacher, block, blocks in (
        ("text", "bert", 1, "encoder.layer"),
        ("image", "net", 2, "blocks"),
    ):
        (folder,) = near.parent.glob(f"results/teachers/{teacher}-*")
        theirs, own = checkpoint.load(folder)[0], student.get_submodule(f"encoders.{modality}.model").state_dict()
        assert student.shape.depth[modality] == 1
        inside = [name for name in own if name.startswith(f"{blocks}.0.")]
        assert len(inside) > 8
        for name, value in own.items():
            source = name.replace(f"{blocks}.0.", f"{blocks}.{block}.")
            assert torch.equal(value, theirs[f"encoder.model.{source}"])
    untrained = ready.workspace.student({}).state_dict()
    assert not torch.equal(untrained["encoders.text.model.embeddings.word_embeddings.weight"],
                           student.state_dict()["encoders.text.model.embeddings.word_embeddings.weight"])  # fmt: skip


def test_it_reads_with_the_teachers_tokenizer_to_its_own_length(near: Path):
    readers = make_ready(from_plain(started()), near, Progress(disable=True)).workspace.readers.text
    words = ["profit", "falls"] * 30
    longer = readers["bert"].read(words)[0]
    assert readers["student"].read(words)[0][:31] == longer[:31]
    assert (len(readers["student"].read(words)[0]), readers["student"].vocabulary) == (32, readers["bert"].vocabulary)


def test_it_is_stored_whole(near: Path):
    (folder,) = near.parent.glob("results/runs/tiny-*/seed0")
    student = read_student(folder).student({})
    assert student.shape.depth == {"text": 1, "image": 1}


def going_on(near: Path) -> dict[str, Any]:
    """A student of sentiment and risk that starts from the run's, which had words too; no teacher."""
    (folder,) = near.parent.glob("results/runs/tiny-*/seed0")
    plain = student_alone(epochs=1) | {"name": "going_on"}
    del plain["tasks"]["ner"], plain["losses"]["ner"]
    plain["student"] = {"start": {"run": str(folder), "reads": ["text", "image"]}}
    return plain


def test_it_goes_on_from_an_earlier_run(near: Path):
    (folder,) = near.parent.glob("results/runs/tiny-*/seed0")
    plain, earlier = going_on(near), read_student(folder)
    ready = make_ready(from_plain(plain), near, Progress(disable=True))
    own, theirs = ready.student(0).state_dict(), checkpoint.load(folder / "student")[0]
    assert {name for name in theirs if name not in own} == {n for n in theirs if n.startswith("heads.ner.")} != set()
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())
    assert ready.workspace.readers.text["student"].identity == earlier.readers.text["student"].identity
    (record,) = run_experiment(from_plain(plain), near, Progress(disable=True), "the command", say=lambda line: None)
    assert set(record.scores["test"]) == {"sentiment", "risk"}
    again = read_student(run_folder(from_plain(plain), near) / "seed0")
    assert again.config.start is None and again.config.width == 12  # stored whole: the first run is not needed


def test_a_new_task_has_a_new_head(near: Path):
    plain = going_on(near)
    plain["tasks"]["mood"] = {"kind": "classify"}
    plain["losses"]["mood"] = {"kind": "supervised", "task": "mood"}
    plain["data"]["market_notes"]["tasks"] = {"sentiment": "sentiment", "risk": "risk", "mood": "sentiment"}
    ready = make_ready(from_plain(plain), near, Progress(disable=True))
    one, other = ready.student(0).state_dict(), ready.student(1).state_dict()
    assert {name.split(".")[1] for name in one if not torch.equal(one[name], other[name])} == {"mood"}


def with_other_labels(plain: dict[str, Any]) -> None:
    plain["tasks"]["sentiment"]["labels"] = ["positive", "neutral", "negative"]


def with_other_modalities(plain: dict[str, Any]) -> None:
    plain["student"]["start"]["reads"] = ["text"]


def with_other_width(plain: dict[str, Any]) -> None:
    plain["student"]["width"] = 24


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_other_labels, r"student\.start\.run: sentiment of the student of .* expected the same labels"),
        (with_other_modalities, r"student\.start\.reads: found \['text'\]; .* reads \['text', 'image'\]"),
        (with_other_width, r"student\.width: found 24; .* has 12; leave the key out"),
    ],
)
def test_a_student_that_does_not_suit_is_refused(near: Path, change: Callable[[dict[str, Any]], None], message: str):
    plain = going_on(near)
    change(plain)
    with pytest.raises(CheckpointError, match=message):
        make_ready(from_plain(plain), near, Progress(disable=True)).student(0)
