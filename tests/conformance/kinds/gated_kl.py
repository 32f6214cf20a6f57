"""KL of a gated mixture of teachers, cross-entropy of the mixture, and KL of the prior to the mean weights."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, divergence, linear, mean, places, scalars, softmax
from conformance.scene import LAYERS, Scene
from mmkd.losses.gated_kl import Loss

CASES = {
    "two": {"task": "sentiment", "teachers": {"bert": 1.0, "vit": 1.0}},
    "three": {"task": "risk", "teachers": {"vit": 0.5, "clip": 2.0, "bert": 1.0}, "temperature": 2.0, "balance": 0.7},
    "words": {"task": "ner", "teachers": {"bert": 1.0, "clip": 3.0}, "temperature": 1.0},
    "unguarded": {"task": "sentiment", "teachers": {"bert": 1.0, "vit": 4.0}, "balance": 0.0},
}
COEFFICIENTS = ("balance",)
SHIFTS = None  # the gate reads a feature, which would be shifted too
STEADY = "temperature"


def prepare(loss: Loss) -> None:
    """A gate that tells rows apart; a new one does not."""
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        loss.gate.weight.copy_(torch.randn(loss.gate.weight.shape, generator=generator))


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row, teacher by teacher among those that speak there."""
    own, T, names = loss.config, loss.config.temperature, list(loss.config.teachers)
    heard = {place: [n for n in names if place in places(scene, own.task, n)] for place in places(scene, own.task)}
    heard = {place: speaking for place, speaking in heard.items() if speaking}
    learned, known = [], []
    total = {name: torch.zeros((), dtype=torch.float64) for name in names}
    prior = dict.fromkeys(names, 0.0)
    for place, speaking in heard.items():
        student, source = scene.student, scene.student.fused
        if own.task == "ner":
            source = student.hidden["text"][LAYERS["student"]].values
        scores = linear(loss.gate, [value.detach() for value in scalars(source[place])])
        weights = dict(zip(speaking, softmax([scores[names.index(name)] for name in speaking]), strict=True))
        fixed = {name: weight.detach() for name, weight in weights.items()}
        target = mixed(scene, own.task, place, fixed, T)
        learned.append(T**2 * divergence(target, softmax(scalars(student.logits[own.task][place]), T)))
        if scene.batch.has_label[own.task][place[0]]:
            known.append(
                -torch.log(mixed(scene, own.task, place, weights, 1.0)[int(scene.batch.labels[own.task][place])])
            )
        for name in speaking:
            total[name] = total[name] + weights[name] / len(heard)
            prior[name] += own.teachers[name] / sum(own.teachers[n] for n in speaking) / len(heard)
    guard = sum(prior[name] * torch.log(prior[name] / total[name]) for name in names if prior[name] > 0)
    return mean(learned) + mean(known) + own.balance * guard


def mixed(scene: Scene, task: str, place: tuple[int, ...], weights: dict[str, Tensor], temperature: float) -> Row:
    """The weighted mean of what the teachers say at the place."""
    said = {n: [x.detach() for x in scalars(scene.teachers[n].logits[task][place])] for n in weights}
    rows = [[weights[n] * p for p in softmax(said[n], temperature)] for n in weights]
    return [sum(column) for column in zip(*rows, strict=True)]
