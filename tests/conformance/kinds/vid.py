"""Negative log-likelihood of the teacher under a Gaussian, without its constant (1904.05835)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import linear, mean, position_rows
from conformance.scene import Scene
from mmkd.losses.vid import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
    "sharp": {"teacher": "bert", "layer": 3, "modality": "text", "start_variance": 0.01},
}
LEAST = None  # a log-density of a continuous variable has no bound
ONE_ROW = "finite"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Position by position, channel by channel."""
    own = loss.config
    found = []
    for row, target in position_rows(scene, own.teacher, own.modality, loss.student_layer, own.layer):
        for c, (middle, value) in enumerate(zip(linear(loss.mean, row), target, strict=True)):
            variance = torch.log(1 + torch.exp(loss.alpha[c])) + 1e-5
            found.append(torch.log(torch.sqrt(variance)) + (value - middle) ** 2 / (2 * variance))
    return mean(found)
