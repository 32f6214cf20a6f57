"""Squared hinge on the side of 0 that the teacher is on (1811.03233, the alternative loss)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import linear, mean, position_rows
from conformance.scene import Scene
from mmkd.losses.ab import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
    "margin": {"teacher": "bert", "layer": 3, "modality": "text", "margin": 0.2},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Position by position: rho(t) relu(mu - s)^2 + (1 - rho(t)) relu(mu + s)^2."""
    own = loss.config
    found = []
    for row, target in position_rows(scene, own.teacher, own.modality, loss.student_layer, own.layer):
        for s, t in zip(linear(loss.projection, row), target, strict=True):
            active = 1 if t > 0 else 0
            found.append(active * torch.relu(own.margin - s) ** 2 + (1 - active) * torch.relu(own.margin + s) ** 2)
    return mean(found)
