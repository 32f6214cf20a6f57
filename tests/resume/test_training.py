"""A training that was interrupted, at any step and under any settings, ends bit by bit as one that was not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from mmkd.checkpoints import Checkpoints
from mmkd.config.checkpoint import Checkpoint
from mmkd.config.experiment import Student as StudentConfig
from mmkd.config.experiment import Train
from mmkd.data.corpus import Corpus, Readers
from mmkd.keeper import Keeper
from mmkd.learning import Learning
from mmkd.losses import cosine, crd, hint, logit_kl, supervised
from mmkd.losses.base import Loss, Setting
from mmkd.objective import Terms
from mmkd.student.student import Student
from mmkd.teachers import hf_text, timm
from mmkd.train import Players, Trained, train
from mmkd.weighting import db_mtl, dwa, famo, fixed, gradnorm, uncertainty
from mmkd.weighting.base import Weighting
from tiny_project import IMAGE, TASKS, TEXT, listed_corpus, random_rows, same_weights

ROWS, EPOCHS = 21, 3
EVERY_STEP = Checkpoint(unit="steps", every=1)
Make = Callable[[list[str]], Weighting]


class Killed(BaseException):
    """Stands for a process that ends at once."""


def corpus_of(folder: Path) -> Corpus:
    return listed_corpus(random_rows(ROWS), folder, "student", "bert", "net")


def new_teachers(readers: Readers) -> dict[str, Any]:
    torch.manual_seed(7)
    bert = hf_text.Config(**TEXT, tasks=["mood", "ner"], layers=(0, 1))
    net = timm.Config(**IMAGE, tasks=["mood"])
    found = {
        "bert": hf_text.Teacher(bert, "bert", {n: TASKS[n] for n in ("mood", "ner")}, Readers(readers.text, {})),
        "net": timm.Teacher(net, "net", {"mood": TASKS["mood"]}, Readers({}, readers.image)),
    }
    for teacher in found.values():
        teacher.freeze()
    return found


def players_of(corpus: Corpus, taught: bool, weighting: Make) -> Players:
    torch.manual_seed(0)
    plain = {"text": TEXT, "image": IMAGE, "width": 8, "dropout": 0.2, "modality_dropout": 0.3}
    student = Student(StudentConfig.model_validate(plain), TASKS, corpus.readers, {})
    teachers = new_teachers(corpus.readers) if taught else {}
    setting = Setting(TASKS, student.shape, {name: teacher.shape for name, teacher in teachers.items()})
    losses: dict[str, Loss] = {name: supervised.Loss(supervised.Config(task=name), setting) for name in TASKS}
    if taught:
        losses |= {
            "words": hint.Loss(hint.Config(teacher="bert", layer=1, modality="text"), setting),
            "angles": cosine.Loss(cosine.Config(teacher="bert", layer=0, modality="text"), setting),
            "mood": logit_kl.Loss(logit_kl.Config(task="mood", teacher="net"), setting),
            "memory": crd.Loss(crd.Config(teacher="net", modality="image", memory=16), setting),
        }
    return Players(student, teachers, Terms(losses), weighting(list(TASKS)), TASKS)


def checkpoints_in(folder: Path) -> Checkpoints:
    return Checkpoints(folder, {"run": "1"}, lambda text: None)


def run(
    folder: Path,
    corpus: Corpus,
    settings: Train,
    taught: bool,
    weighting: Make,
    killed_after: int | None = None,
    every: Checkpoint | None = EVERY_STEP,
) -> Trained:
    """Train, or go on with what lies in `folder`; killed after so many steps in all."""

    def progress(done: int, total: int) -> None:
        if killed_after is not None and done == killed_after + 1:
            raise Killed  # before this step is saved

    accelerator = Accelerator(cpu=True)
    keeper = None
    if every is not None:
        keeper = Keeper(checkpoints_in(folder / "checkpoints"), every, accelerator, lambda text: None)
    torch.manual_seed(len(str(folder)))  # what came before does not matter
    players = players_of(corpus, taught, weighting)
    own = (corpus, settings, 3, accelerator, folder / "logs")
    return train(players, lambda epoch: corpus, *own, progress=progress, keeper=keeper)


def of(module: Any, **keys: Any) -> Make:
    return lambda tasks: module.Weighting(module.Config(**keys), tasks)


BASE = {"epochs": EPOCHS, "batch_size": 6, "lr": 1e-3}
CONFIGURATIONS: dict[str, tuple[dict[str, Any], bool, Make]] = {
    "plain": ({}, False, of(fixed)),
    "taught, with projections and a memory": ({}, True, of(gradnorm)),
    "accumulated": ({"accumulate": 3}, True, of(uncertainty)),
    "averaged": ({"average": {"decay": 0.7}}, False, of(famo)),
    "averaged late": ({"average": {"kind": "mean", "start": 0.4}}, False, of(dwa)),
    "with diagnostics": ({"diagnose_every": 2}, True, of(db_mtl)),
    "unclipped, in bf16": ({"clip": None, "precision": "bf16"}, False, of(fixed)),
    "stopped early": ({"patience": 1, "epochs": 12}, False, of(fixed)),
}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Corpus, Trained]]:
    found: dict[str, tuple[Corpus, Trained]] = {}

    def of_name(name: str) -> tuple[Corpus, Trained]:
        if name not in found:
            folder = tmp_path_factory.mktemp("unbroken")
            settings, taught, weighting = CONFIGURATIONS[name]
            corpus = corpus_of(folder)
            found[name] = corpus, run(folder, corpus, Train(**BASE | settings), taught, weighting, every=None)
        return found[name]

    return of_name


def same(one: Trained, other: Trained) -> bool:
    return (
        same_weights(one.weights, other.weights)
        and one.history == other.history
        and (one.epoch, one.value) == (other.epoch, other.value)
    )


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_interrupted_again_and_again_it_ends_as_if_it_had_not_been(
    tmp_path: Path, unbroken: Callable[[str], tuple[Corpus, Trained]], name: str
) -> None:
    settings, taught, weighting = CONFIGURATIONS[name]
    corpus, expected = unbroken(name)
    kills = {"accumulated": (1, 2, 4), "stopped early": (2, 4, 6)}.get(name, (2, 4, 9))  # an epoch has 4 steps, or 2
    for kill in kills:
        with pytest.raises(Killed):
            run(tmp_path, corpus, Train(**BASE | settings), taught, weighting, killed_after=kill)
        assert checkpoints_in(tmp_path / "checkpoints").steps()[-1] == kill
    assert same(run(tmp_path, corpus, Train(**BASE | settings), taught, weighting), expected)


def test_workers_may_change_from_one_sitting_to_the_next(
    tmp_path: Path, unbroken: Callable[[str], tuple[Corpus, Trained]]
) -> None:
    name = "taught, with projections and a memory"
    corpus, expected = unbroken(name)
    settings, taught, weighting = CONFIGURATIONS[name]
    for kill, workers in ((2, 0), (5, 2), (9, 1)):
        with pytest.raises(Killed):
            own = Train(**BASE | settings | {"workers": workers})
            run(tmp_path, corpus, own, taught, weighting, killed_after=kill)
    assert same(run(tmp_path, corpus, Train(**BASE | settings), taught, weighting), expected)


@pytest.mark.parametrize("unit", ["epochs", "minutes"])
def test_it_goes_on_from_an_epochs_end_or_from_where_it_was_some_time_ago(
    tmp_path: Path, unbroken: Callable[[str], tuple[Corpus, Trained]], unit: str
) -> None:
    corpus, expected = unbroken("plain")
    _, taught, weighting = CONFIGURATIONS["plain"]
    every = Checkpoint(unit=unit, every=1 if unit == "epochs" else 1e-9)
    with pytest.raises(Killed):
        run(tmp_path, corpus, Train(**BASE), taught, weighting, killed_after=6, every=every)
    assert checkpoints_in(tmp_path / "checkpoints").steps()[-1] == (4 if unit == "epochs" else 6)
    assert same(run(tmp_path, corpus, Train(**BASE), taught, weighting, every=every), expected)


def test_a_training_that_has_ended_is_not_trained_again(
    tmp_path: Path, unbroken: Callable[[str], tuple[Corpus, Trained]]
) -> None:
    corpus, expected = unbroken("stopped early")
    settings, taught, weighting = CONFIGURATIONS["stopped early"]
    own = Train(**BASE | settings)
    assert len(expected.history) < own.epochs
    run(tmp_path, corpus, own, taught, weighting)
    assert same(run(tmp_path, corpus, own, taught, weighting, killed_after=0), expected)


def _nothing(learning: Learning, *_: Any) -> None:
    pass


def _without(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """What is taken up lacks a part."""
    if part == "moments":
        monkeypatch.setattr(Learning, "_take_moments", _nothing)
    elif part == "buffers":
        whole = Learning.take_up

        def bare(learning: Learning, saved: Any, process: int) -> None:
            whole(learning, replace(saved, tensors=saved.tensors | {"own-0": {}}), process)

        monkeypatch.setattr(Learning, "take_up", bare)
    elif part == "average":
        monkeypatch.setattr("mmkd.averaging.Averaged.take_up", _nothing)
    else:
        real = Learning.take_up

        def take_up(learning: Learning, saved: Any, process: int) -> None:
            fresh = Learning(learning.network, *list(learning.trainees)[1:], Train(**BASE))  # type: ignore[arg-type]
            before: Mapping[str, Any] = {part: getattr(fresh, part)}
            real(learning, saved, process)
            setattr(learning, part, before[part])

        monkeypatch.setattr(Learning, "take_up", take_up)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ("moments", "plain"),
        ("buffers", "taught, with projections and a memory"),
        ("average", "averaged"),
        ("batch", "plain"),
        ("step", "plain"),
        ("best", "stopped early"),
        ("history", "plain"),
        ("sums", "plain"),
        ("diagnostics", "with diagnostics"),
    ],
)
def test_control_each_part_of_the_state_counts(
    tmp_path: Path,
    unbroken: Callable[[str], tuple[Corpus, Trained]],
    monkeypatch: pytest.MonkeyPatch,
    part: str,
    name: str,
) -> None:
    settings, taught, weighting = CONFIGURATIONS[name]
    corpus, expected = unbroken(name)
    own = Train(**BASE | settings)
    with pytest.raises(Killed):
        run(tmp_path, corpus, own, taught, weighting, killed_after=6)
    _without(monkeypatch, part)
    try:
        found = run(tmp_path, corpus, own, taught, weighting)
    except (AssertionError, ZeroDivisionError, KeyError):
        return
    assert not same(found, expected)
