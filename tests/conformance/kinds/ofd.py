"""Partial L2 distance to a teacher above its margin (1904.01866, section 3), margins from the rows of the batch."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import linear, mean, position_rows
from conformance.scene import Scene
from mmkd.losses.ofd import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Position by position; a channel's margin is the mean of its negative values."""
    own = loss.config
    rows = position_rows(scene, own.teacher, own.modality, loss.student_layer, own.layer)
    found = []
    for c in range(loss.teacher_width):
        negative = [target[c] for _, target in rows if target[c] < 0]
        margin = mean(negative) if negative else torch.zeros((), dtype=torch.float64)
        for row, target in rows:
            t, s = torch.maximum(target[c], margin), linear(loss.projection, row)[c]
            found.append(0 * s if s <= t <= 0 else (t - s) ** 2)
    return mean(found)
