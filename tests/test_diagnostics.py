"""Diagnostics against autograd's own gradients, and that a run does not notice them."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path

import pytest
import torch
from rich.progress import Progress
from torch import nn

from conformance.scene import make_scene
from mmkd import checkpoint
from mmkd.diagnostics import Diagnostics, gradient_numbers, teacher_numbers
from mmkd.objective import Objective
from mmkd.ready import make_ready
from mmkd.seed import run_seed
from tiny_project import experiment, plain_experiment, same_weights


def objective_of(*rows: tuple[str, str | None, list[float]]) -> tuple[Objective, list[nn.Parameter]]:
    """Terms whose gradients at two parameters are the given rows: name, group, gradient."""
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    joined = torch.cat([p.flatten() for p in parameters])
    terms = {name: torch.tensor(row) @ joined for name, _, row in rows}
    groups = {name: group for name, group, _ in rows if group is not None}
    return Objective({}, {}, None, terms, groups), parameters


def test_norms_are_of_terms_and_cosines_of_groups() -> None:
    own, parameters = objective_of(
        ("labels", "risk", [3.0, 0.0, 0.0]),
        ("taught", "risk", [0.0, 4.0, 0.0]),
        ("names", "ner", [-1.0, 0.0, 0.0]),
        ("outside", None, [0.0, 0.0, 2.0]),
    )
    norms, cosines = gradient_numbers(own, parameters)
    assert norms == pytest.approx({"labels": 3, "taught": 4, "names": 1, "outside": 2})
    assert cosines == pytest.approx({"risk-ner": -3 / 5})  # (3, 4, 0) against (-1, 0, 0)
    assert all(parameter.grad is None for parameter in parameters)


def test_a_group_without_a_gradient_has_the_cosine_zero() -> None:
    own, parameters = objective_of(("labels", "risk", [3.0, 0.0, 0.0]), ("names", "ner", [0.0, 0.0, 0.0]))
    assert gradient_numbers(own, parameters)[1] == {"risk-ner": 0.0}


def test_agreement_and_entropy_are_over_the_rows_of_both() -> None:
    """Row by row from the scene's description; labels and values are no classes."""
    scene = make_scene()
    two = {name: scene.teachers[name] for name in ("bert", "vit")}
    agreement, entropy = teacher_numbers(scene.student, two, scene.batch, scene.setting.tasks)
    assert set(agreement) == set(entropy) == {"bert.sentiment", "bert.risk", "bert.ner", "vit.sentiment", "vit.risk"}
    rows = [0, 1, 2, 4, 5]  # with an image, of which the student reads something
    own, said = scene.student.logits["risk"][rows].tolist(), scene.teachers["vit"].logits["risk"][rows].tolist()
    same = [a.index(max(a)) == b.index(max(b)) for a, b in zip(own, said, strict=True)]
    entropies = []
    for row in said:
        weights = [math.exp(value) for value in row]
        entropies.append(-sum(w / sum(weights) * math.log(w / sum(weights)) for w in weights))
    assert agreement["vit.risk"] == pytest.approx(sum(same) / 5)
    assert entropy["vit.risk"] == pytest.approx(sum(entropies) / 5, rel=1e-5)


def test_means_are_over_the_batches_in_which_a_name_occurs() -> None:
    scene, found = make_scene(), Diagnostics()
    assert found.means() == {}
    for row in ([3.0, 0.0, 0.0], [0.0, 5.0, 0.0]):
        own, parameters = objective_of(("labels", "risk", row))
        found.look(own, parameters, scene.student, {}, scene.batch, scene.setting.tasks)
    assert found.means()["gradient_norm"] == pytest.approx({"labels": 4.0})


def test_a_run_is_the_same_with_and_without_them(project: Path, tmp_path: Path) -> None:
    weights, histories = [], []
    for every in (1, None):
        plain = plain_experiment() | {"seeds": [0]}
        plain["train"]["diagnose_every"] = every
        plain["weighting"]["over"] = "parts"
        ready = make_ready(experiment(plain), project, Progress(disable=True))
        histories.append(run_seed(ready, 0, tmp_path / str(every), "trial", test=False).history)
        weights.append(checkpoint.load(tmp_path / str(every) / "student")[0])
    assert same_weights(*weights)
    looked, not_looked = (history[-1]["diagnostics"] for history in histories)
    assert not_looked == {}
    assert set(looked["gradient_norm"]) == set(plain_experiment()["losses"])
    groups = ["sentiment.supervised", "ner.supervised", "ner.distilled", "risk.supervised", "risk.distilled"]
    assert set(histories[0][-1]["weights"]) == set(groups)
    assert {frozenset(name.split("-")) for name in looked["cosine"]} == {frozenset(p) for p in combinations(groups, 2)}
    assert set(looked["agreement"]) == {"bert.sentiment", "bert.ner", "net.risk"}
