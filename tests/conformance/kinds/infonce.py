"""-log of the chance to find an example's teacher among the batch's, by cosine over temperature (1807.03748, eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, cosine, feature_pairs, linear, mean, softmax
from conformance.scene import Scene
from mmkd.losses.infonce import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text"},
    "image": {"teacher": "vit", "modality": "image", "temperature": 0.5, "both": True},
    "fused": {"teacher": "bert", "modality": "text", "to": "fused", "temperature": 1.0},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example."""
    own = loss.config
    students, teachers = feature_pairs(scene, own.teacher, own.modality, own.to)
    students = [linear(loss.projection, row) for row in students]
    value = contrast(students, teachers, own.temperature)
    return (value + contrast(teachers, students, own.temperature)) / 2 if own.both else value


def contrast(rows: list[Row], others: list[Row], temperature: float) -> Tensor:
    chances = [softmax([cosine(row, other) for other in others], temperature)[i] for i, row in enumerate(rows)]
    return mean([-torch.log(chance) for chance in chances])
