"""Mistakes planted in a user's own plug-ins: each is stopped before the first step, by the check that is meant for it.

Each runs as an experiment does, from its plain data to the end; the same plug-ins without the mistake train.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from mmkd.losses import attention_transfer, feature
from mmkd.preflight.found import PreflightError
from mmkd.run import run_experiment
from tiny_project import BERT, IMAGE, TEXT, experiment, make_project

KINDS = (attention_transfer, feature)  # imported before an experiment is read, as `tiny_project`'s are
TINY = {"architecture": {**BERT, "hidden_size": 8, "intermediate_size": 8}, "vocabulary": 120, "max_tokens": 64}


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One project for all: the data is made, checked and encoded once."""
    return make_project(tmp_path_factory.mktemp("planted") / "project")


def plain(teacher: str = "none", loss: str = "none", weighting: str = "none", cache: bool = True) -> dict[str, Any]:
    """An experiment of three user's plug-ins, one of which may have a fault."""
    sizes = {"train": 96, "transfer": 16, "validation": 12, "test": 12, "pixels": 48}
    return {
        "name": "planted",
        "data": {"notes": {"card": "market_notes", "train": ["train", "transfer"], "options": sizes}},
        "tasks": {"sentiment": {"kind": "classify"}, "ner": {"kind": "tag"}, "risk": {"kind": "ordinal"}},
        "teachers": {
            "mine": {
                "kind": "lab.faulty_teacher",
                **TEXT,
                "max_tokens": 256,
                "tasks": ["sentiment", "risk"],
                "fault": teacher,
            },
            "words": {"kind": "hf_text", **TINY, "tasks": ["ner"], "finetune": {"epochs": 1}},
        },
        "student": {"text": TINY, "image": IMAGE, "width": 12},
        "losses": {
            "sentiment": {"kind": "supervised", "task": "sentiment"},
            "ner": {"kind": "supervised", "task": "ner"},
            "risk": {"kind": "supervised", "task": "risk"},
            "mood": {"kind": "lab.faulty_loss", "teacher": "mine", "task": "sentiment", "fault": loss},
            "entities": {"kind": "lab.faulty_loss", "teacher": "words", "task": "ner", "fault": loss},
            "features": {"kind": "feature", "teacher": "mine", "modality": "text"},
        },
        "weighting": {"kind": "lab.faulty_weighting", "fault": weighting},
        "train": {"epochs": 1, "batch_size": 32, "threads": 1, "cache": cache},
        "seeds": [0],
    }


def run(own: dict[str, Any], near: Path) -> list[str]:
    said: list[str] = []
    run_experiment(experiment(own), near, Progress(disable=True), "the command", say=said.append)
    return said


def stopped(own: dict[str, Any], near: Path) -> str:
    """What the preflight says; nothing was trained."""
    with pytest.raises(PreflightError) as error:
        run(own, near)
    assert not list((near.parent / "results" / "runs").glob("planted-*/seed0/record.json"))
    return str(error.value)


TEACHERS = {
    "in training mode": "modules are in training mode, the first `itself`",
    "learns": "parameters ask for a gradient, the first `vectors.weight`",
    "learns by the way": "pooled.text has a gradient, though no parameter asks for one",
    "drops": "asked about the same rows again, logits.sentiment of",
    "padding": "with other sub-tokens under the padding, and pixels where no image is, logits.sentiment of",
    "sorts its rows": "with the rows in another order, logits.sentiment of",
    "sees its batch": "asked about the row alone, logits.sentiment of",
    "classes in another order": "with other names for its classes, in 100%: it says negative for positive",
}


@pytest.mark.parametrize(("fault", "cache"), [*((fault, True) for fault in TEACHERS), ("sees its batch", False)])
def test_a_faulty_teacher_is_stopped(fault: str, cache: bool, near: Path) -> None:
    """Before the cache keeps what it says, where there is one."""
    found = stopped(plain(teacher=fault, cache=cache), near)
    assert "teachers.mine (kind lab.faulty_teacher): " in found
    assert TEACHERS[fault] in found
    assert "teachers.words" not in found


LOSSES = {
    "into the teacher": ("mood", "has a gradient to logits.sentiment of the teacher `mine`"),
    "reads labels of unlabelled rows": ("mood", "depends on the labels of rows that have none"),
    "sums over the padding": ("entities", "depends on how far the batch is padded"),
    "divides by the padding": ("entities", "depends on how far the batch is padded"),
    "NaN on a row": ("mood", "gives nan, already on these rows alone: "),
    "detached": ("mood", "has no gradient to anything that the student says"),
    "always the same": ("mood", "is 0 whatever the student says"),
    "draws": ("mood", "depends on torch's random state"),
    "draws unseeded": ("mood", "gives two values for the same batch and the same state of torch's random numbers"),
    "by place": ("mood", "with the rows in another order goes from"),
    "claims too much": ("mood", "where the student says what its teacher says, the value is"),
    "a vector": ("mood", "gives a tensor of the shape ["),
}


@pytest.mark.parametrize("fault", LOSSES)
def test_a_faulty_loss_is_stopped(fault: str, near: Path) -> None:
    found = stopped(plain(loss=fault), near)
    name, text = LOSSES[fault]
    assert f"losses.{name} (kind lab.faulty_loss): {text}" in found
    assert "losses.features" not in found


WEIGHTINGS = {
    "drops a group": "the group `risk` has a weight, and no gradient reaches",
    "forgets a weight": "returns weights of ner, sentiment; expected of ner, risk, sentiment",
    "drops the rest": "which only terms outside every group train, is not that of these terms",
    "weighs the rest": "which only terms outside every group train, is not that of these terms",
    "divides by zero": "is not finite, though every term is finite",
    "steps": "its `backward` changes `student.",
    "steps into the teacher": "its `backward` changes the teacher `mine`",
}


@pytest.mark.parametrize("fault", WEIGHTINGS)
def test_a_faulty_weighting_is_stopped(fault: str, near: Path) -> None:
    found = stopped(plain(weighting=fault, cache=False), near)
    assert "weighting (kind lab.faulty_weighting): " in found
    assert WEIGHTINGS[fault] in found


@pytest.mark.parametrize("cache", [True, False], ids=["cached", "live"])
def test_the_same_plug_ins_without_a_fault_train(cache: bool, tmp_path: Path) -> None:
    assert run(plain(cache=cache), make_project(tmp_path / "project"))


def test_a_run_can_do_without(tmp_path: Path) -> None:
    own = plain(loss="divides by the padding")
    own["train"]["preflight"] = False
    assert run(own, make_project(tmp_path / "project"))


def test_attention_over_a_map_of_one_place_is_stopped(near: Path) -> None:
    """Its map is 1 there, whatever the features are: a last layer has one place for 32 x 32 pixels."""
    own, small = plain(), {**IMAGE, "size": 32}
    own["student"]["image"] = small
    own["teachers"]["sees"] = {"kind": "timm", **small, "tasks": ["risk"], "layers": [3], "finetune": {"epochs": 1}}
    own["losses"]["places"] = {"kind": "attention_transfer", "teacher": "sees", "modality": "image", "layer": 3}
    assert "losses.places (kind attention_transfer): is 0 whatever the student says" in stopped(own, near)
