"""Mean squared error of projected hidden states, summed over layer pairs (1909.10351, eq. 8)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import linear, mean, position_rows
from conformance.scene import Scene
from mmkd.losses.tinybert_hidden import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text", "pairs": [[0, 1], [1, 3]]},  # share one projection
    "one_pair": {"teacher": "bert", "modality": "text", "pairs": [[1, 1]]},
    "image": {"teacher": "vit", "modality": "image", "pairs": [[1, 2], [0, 0]]},  # one each: other widths
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Pair by pair, position by position."""
    own = loss.config
    student, teacher = scene.setting.student.hidden[own.modality], scene.setting.teachers[own.teacher].hidden
    total = torch.zeros((), dtype=torch.float64)
    for student_layer, layer in own.pairs:
        projection = loss.projections[f"{student[student_layer]}_{teacher[own.modality][layer]}"]
        rows = position_rows(scene, own.teacher, own.modality, student_layer, layer)
        errors = [(x - y) ** 2 for row, target in rows for x, y in zip(linear(projection, row), target, strict=True)]
        total = total + mean(errors)
    return total
