"""A student that starts from its teachers' blocks, in a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress

from mmkd import checkpoint
from mmkd.config.load import from_plain
from mmkd.run import make_ready, run_experiment
from mmkd.student.stored import read_student
from mmkd.teach import new_student
from tiny_project import make_project, plain_experiment

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
    student = new_student(ready.workspace, ready.prepared)
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
    untrained = ready.workspace.student().state_dict()
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
