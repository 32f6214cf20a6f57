"""Adapted students in runs: what learns, what stays, what is stored and counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.progress import Progress
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from mmkd import checkpoint
from mmkd.checkpoint import CheckpointError
from mmkd.evaluate import evaluate, write_predictions
from mmkd.plan.plan import plan_experiment
from mmkd.ready import Ready, make_ready
from mmkd.record import RunRecord
from mmkd.run import run_experiment, run_folder
from mmkd.seed import start_of
from mmkd.student.adapted import merge, trained_parameters
from mmkd.student.stored import read_student
from mmkd.student.student import READER
from tiny_project import TEXT, experiment, make_project, same_weights, student_alone

QUIET = Progress(disable=True)
RANK, WIDTH, TOKENS, D = 2, 3, 4, 16
LORA = {"kind": "lora", "rank": RANK, "alpha": 4}
KINDS = {
    "lora": {"text": LORA | {"targets": ["query", "value"]}, "image": LORA | {"targets": ["qkv", "attn.proj", "fc1"]}},
    "prefix": {"text": {"kind": "prefix", "tokens": TOKENS}},
    "adapter": {
        "text": {"kind": "adapter", "width": WIDTH, "targets": ["output.dense"]},
        "image": {"kind": "adapter", "width": WIDTH, "targets": ["attn.proj", "fc2"]},
    },
}


def adapted(kind: str) -> dict[str, Any]:
    """Two epochs with gradients combined and looked at in each step, and weights averaged over the steps."""
    train = {"diagnose_every": 1, "lr": 1e-2, "average": {"kind": "ema", "decay": 0.5}}
    plain = student_alone(**train) | {"name": kind, "weighting": {"kind": "pcgrad"}}
    image = {"model": "test_vit", "size": 48, "options": {"img_size": 48}}
    plain["student"] = {"text": TEXT | {"max_tokens": 32}, "image": image, "width": 12, "adapt": KINDS[kind]}
    return plain


@dataclass(frozen=True)
class Done:
    """A run: its start as an ordinary state, how many numbers the optimizer kept moments of, what it left behind."""

    kind: str
    ready: Ready
    start: dict[str, Tensor]
    moments: int
    record: RunRecord
    folder: Path


@pytest.fixture(scope="module", params=KINDS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Done:
    near = make_project(tmp_path_factory.mktemp(request.param) / "project")
    ready = make_ready(experiment(adapted(request.param)), near, QUIET)
    start = {name: value.clone() for name, value in ready.student(0).state_dict().items()}
    kept = Counter[str]()

    def count(optimizer: Any, *_: Any) -> None:
        kept["moments"] = sum(state["exp_avg"].numel() for state in optimizer.state.values())

    hook = register_optimizer_step_post_hook(count)
    said: list[str] = []
    (record,) = run_experiment(ready.workspace.experiment, near, QUIET, "the command", say=said.append)
    hook.remove()
    assert f"the student trained {record.trained_parameters:,} of {record.parameters:,} parameters" in said
    folder = run_folder(ready.workspace.experiment, near) / "seed0"
    return Done(request.param, ready, start, kept["moments"], record, folder)


def test_the_encoders_own_weights_stay_and_all_else_learns(done: Done):
    own = checkpoint.load(done.folder / "student")[0]
    changed = {name for name, value in own.items() if name in done.start and not torch.equal(value, done.start[name])}
    if done.kind == "lora":
        ordinary = {name.replace(".base_layer", ""): v for name, v in done.start.items() if "lora_" not in name}
        assert own.keys() == ordinary.keys()
        changed = {name for name, value in own.items() if not torch.equal(value, ordinary[name])}
        ends = ("query.weight", "value.weight", "qkv.weight", "attn.proj.weight", "fc1.weight")
        targets = {name for name in own if name.startswith("encoders.") and name.endswith(ends)}
        assert {name for name in changed if name.startswith("encoders.")} == targets
        for name in targets:
            product = (own[name] - ordinary[name]).double()
            assert int(torch.linalg.matrix_rank(product, rtol=1e-4)) == RANK
    else:
        assert own.keys() == done.start.keys()
        added = {name for name in own if ".adapter." in name or ".prefix." in name}
        without = {"encoders.image."} if done.kind == "prefix" else set()  # trained as a whole
        inside = {name for name in changed if name.startswith("encoders.") and not name.startswith(tuple(without))}
        assert inside == added
    for part in ("project.text.", "project.image.", "fuse.", "word.", "heads.ner.", "heads.risk.", "heads.sentiment."):
        assert any(name.startswith(part) for name in changed)


def test_what_is_counted_is_what_the_optimizer_keeps_moments_of(done: Done):
    beside = sum(v.numel() for name, v in done.start.items() if not name.startswith("encoders."))
    image = sum(v.numel() for name, v in done.start.items() if name.startswith("encoders.image."))
    encoder = done.ready.student(0).encoders["image"]
    vit, depth, hidden = encoder.width, encoder.depth, encoder.model.blocks[0].mlp.fc1.out_features
    added = {
        "lora": 2 * 2 * RANK * 2 * D + depth * RANK * ((vit + 3 * vit) + 2 * vit + (vit + hidden)),
        "prefix": 2 * 2 * TOKENS * D + image,  # the image encoder trains as a whole
        "adapter": 2 * 2 * (2 * WIDTH * D + WIDTH + D) + depth * 2 * (2 * WIDTH * vit + WIDTH + vit),
    }
    assert done.record.trained_parameters == done.moments == beside + added[done.kind]
    stored = read_student(done.folder).student({})
    assert done.record.parameters == sum(p.numel() for p in stored.parameters())


def test_the_plan_counts_alike(done: Done):
    plan = plan_experiment(done.ready.workspace.experiment, done.ready.workspace.near, QUIET, measure=False)
    student = plan.student
    assert (student.parameters, student.trained_parameters) == (done.record.parameters, done.record.trained_parameters)
    assert done.record.trained_parameters is not None
    assert student.memory.gradients == 4 * done.record.trained_parameters
    weights = checkpoint.load(done.folder / "student")[0]
    assert student.disk_bytes.value == sum(value.numel() * value.element_size() for value in weights.values())


def test_it_predicts_after_loading_what_the_record_says(done: Done, tmp_path: Path):
    workspace, student = done.ready.workspace, read_student(done.folder).student({})
    kept = student.config.adapt.by_modality()
    assert bool(kept) == (done.kind != "lora") and not any("lora" in name for name in student.state_dict())
    for split in ("validation", "test"):
        with workspace.mix.test_opened():
            corpus = workspace.mix.split(split, workspace.reader(READER))
            found = evaluate(student, corpus, workspace.tasks, torch.device("cpu"))
        assert found.scores == done.record.scores[split]
    assert write_predictions(found.predictions, tmp_path / "predictions.parquet") == done.record.predictions


def test_a_student_goes_on_from_it(done: Done):
    plain = student_alone(epochs=1) | {"name": "going_on"}
    plain["student"] = {"start": {"run": str(done.folder), "reads": ["text", "image"]}}
    near, own = done.ready.workspace.near, checkpoint.load(done.folder / "student")[0]
    ready = make_ready(experiment(plain), near, QUIET)
    student = ready.student(0)
    assert same_weights(student.state_dict(), own)
    if done.kind == "lora":
        assert trained_parameters(student) == done.record.parameters  # an ordinary one
        plain["student"]["adapt"] = KINDS["lora"]
        again = make_ready(experiment(plain), near, QUIET).student(0)
        merge(again)
        assert same_weights(again.state_dict(), own)
    else:
        assert trained_parameters(student) == done.record.trained_parameters  # what is added goes on learning
        run_experiment(experiment(plain), near, QUIET, "the command", say=lambda line: None)
        later = read_student(run_folder(experiment(plain), near) / "seed0").student({})
        frozen = {name for name in own if name.startswith("encoders.text.model.") and ".adapter." not in name}
        assert all(torch.equal(later.state_dict()[name], own[name]) for name in frozen)
        plain["student"]["adapt"] = {"text": KINDS["lora"]["text"]}
        with pytest.raises(CheckpointError, match=rf"student\.adapt\.text: .* has its own: {done.kind}"):
            make_ready(experiment(plain), near, QUIET)


def test_seeds_of_low_rank_products_share_a_start_that_prefixes_do_not(done: Done):
    """The products' random halves add nothing; a prefix and adapters are random."""
    plain = adapted(done.kind)
    plain["student"] = {"start": {"run": str(done.folder), "reads": ["text", "image"]}}
    if done.kind == "lora":
        plain["student"]["adapt"] = KINDS["lora"]
    ready = make_ready(experiment(plain), done.ready.workspace.near, QUIET)
    assert start_of(ready.student(0)) == start_of(ready.student(1))
    assert start_of(done.ready.student(0)) != start_of(done.ready.student(1))
