"""(1 - alpha) CE(exit, label) + alpha T^2 KL(last logits || exit), summed over exits (1905.08094)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import divergence, exit_rows, mean, scalars, softmax
from conformance.scene import Scene
from mmkd.losses.self_distil import Loss

CASES = {
    "text": {"task": "sentiment", "modality": "text", "layers": [0, 1]},
    "words": {"task": "ner", "modality": "text", "layers": [0], "alpha": 0.6, "temperature": 2.0},
    "image": {"task": "risk", "modality": "image", "layers": [1], "alpha": 1.0, "temperature": 1.0},
    "labels alone": {"task": "sentiment", "modality": "image", "layers": [0], "alpha": 0.0},
}
COEFFICIENTS = ("alpha",)
NOT_A_GRADIENT = "the exits take the student's logits as they are, so the value's own gradient is larger"
SHIFTS = None  # reads features beside the logits


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Exit by exit, row by row."""
    own, T = loss.config, loss.config.temperature
    total = torch.zeros((), dtype=torch.float64)
    for n, head in enumerate(loss.exits):
        found = []
        for label, place, features in exit_rows(scene, own.task, own.modality, own.layers):
            logits = scalars(head(torch.stack(features[n])))
            deepest = softmax(scalars(scene.student.logits[own.task][place].detach()), T)
            taught = T**2 * divergence(deepest, softmax(logits, T))
            found.append(-(1 - own.alpha) * torch.log(softmax(logits)[label]) + own.alpha * taught)
        total = total + mean(found)
    return total
