"""What the gate of `gated_kl` starts at, what it learns from, and what keeps it from giving a teacher up."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from conformance.scene import Scene
from mmkd.losses.gated_kl import Config, Loss, gate_weights, imbalance, mixture

TEACHERS = {"bert": 1.0, "vit": 3.0}


def term(scene: Scene, **keys: object) -> Loss:
    return Loss(Config(task="sentiment", **{"teachers": TEACHERS, **keys}), scene.setting).double()


def unlabelled(scene: Scene) -> Scene:
    has = {name: torch.zeros_like(each) for name, each in scene.batch.has_label.items()}
    return replace(scene, batch=replace(scene.batch, has_label=has))


def test_it_starts_at_the_configured_weights_of_those_that_speak(scene: Callable) -> None:
    loss = term(scene())
    speaks = torch.tensor([[True, True, False], [True, False, True]])
    weights = gate_weights(loss.gate(torch.randn(3, 5, dtype=torch.float64)).T, speaks).exp()
    torch.testing.assert_close(weights, torch.tensor([[0.25, 1.0, 0.0], [0.75, 0.0, 1.0]]).double())


def test_the_gate_learns_from_labels_alone(scene: Callable) -> None:
    """Without labels the student still learns from the mixture, and the gate is told nothing."""
    one = unlabelled(scene())
    loss = term(one, balance=0.0)
    one.value(loss).backward()
    assert one.leaves["student.sentiment"].grad.nan_to_num().abs().sum() > 0
    assert not loss.gate.weight.grad.any() and not loss.gate.bias.grad.any()
    labelled = scene()
    labelled.value(loss).backward()
    assert loss.gate.weight.grad.any() and loss.gate.bias.grad.any()


def test_the_feature_that_the_gate_reads_has_no_gradient(scene: Callable) -> None:
    one = scene()
    one.value(term(one)).backward()
    assert one.leaves["student.fused"].grad is None


def experts() -> tuple[Tensor, Tensor, Tensor]:
    """Features, logits of two teachers, labels: the first is right above 0, the other below."""
    features = torch.linspace(-2, 2, 20, dtype=torch.float64)[:, None]
    labels = torch.arange(20) % 3
    right = 4.0 * torch.nn.functional.one_hot(labels, 3).double()
    wrong = 4.0 * torch.nn.functional.one_hot((labels + 1) % 3, 3).double()
    first = torch.where(features > 0, right, wrong)
    return features, torch.stack([first, torch.where(features > 0, wrong, right)]), labels


def learned(logits: Tensor, features: Tensor, labels: Tensor, balance: float) -> Tensor:
    """Weights [2, R] after the gate has learned, as the term teaches it."""
    gate = torch.nn.Linear(1, 2).double()
    torch.nn.init.zeros_(gate.weight), torch.nn.init.zeros_(gate.bias)
    speaks, optimizer = torch.ones(logits.shape[:2], dtype=torch.bool), torch.optim.Adam(gate.parameters(), 0.1)
    for _ in range(400):
        log_weights = gate_weights(gate(features).T, speaks)
        value = -mixture(logits, log_weights).gather(-1, labels[:, None]).mean()
        value = value + balance * imbalance(log_weights, speaks, torch.ones(2, dtype=torch.float64))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return gate_weights(gate(features).T, speaks).exp().detach()


def test_the_gate_finds_who_knows_which_rows() -> None:
    features, logits, labels = experts()
    weights = learned(logits, features, labels, 0.1)
    assert ((weights[0] > 0.9) == (features[:, 0] > 0.2)).all()


def test_the_guard_keeps_a_teacher_that_is_never_better() -> None:
    """The control: without it, the weight of the worse teacher goes to 0."""
    features, logits, labels = experts()
    right = torch.where(features > 0, logits[0], logits[1])
    worse = torch.stack([right, right / 2])
    assert learned(worse, features, labels, 0.0)[1].mean() < 0.02
    assert learned(worse, features, labels, 1.0)[1].mean() > 0.1


def test_the_guard_asks_for_the_mean_and_has_no_bound() -> None:
    speaks, own = torch.ones(2, 2, dtype=torch.bool), torch.ones(2, dtype=torch.float64)
    apart = torch.tensor([[0.999, 0.001], [0.001, 0.999]], dtype=torch.float64)
    assert imbalance(apart.log(), speaks, own).item() == pytest.approx(0.0, abs=1e-12)
    scores = torch.tensor([[0.0, 0.0], [-2000.0, -2000.0]], dtype=torch.float64, requires_grad=True)
    value = imbalance(gate_weights(scores, speaks), speaks, own)
    assert value.item() == pytest.approx(1000 - math.log(2))
    value.backward()
    torch.testing.assert_close(scores.grad.sum(1), torch.tensor([0.5, -0.5], dtype=torch.float64))


def test_a_teacher_that_is_silent_on_the_batch_is_not_missed() -> None:
    speaks = torch.tensor([[True, True], [False, False]])
    weights = gate_weights(torch.zeros(2, 2, dtype=torch.float64), speaks)
    assert imbalance(weights, speaks, torch.ones(2, dtype=torch.float64)).item() == 0
