"""log sum |difference|^alpha of features that are normalised over the rows (2303.11098)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, linear, mean, position_rows
from conformance.scene import Scene
from mmkd.losses.srd import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
    "squares": {"teacher": "bert", "layer": 3, "modality": "text", "alpha": 2.0},
    "odd": {"teacher": "vit", "layer": 2, "modality": "image", "alpha": 3.0},
}
LEAST = None  # a logarithm
ONE_ROW = "finite"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Channel by channel, with the statistics of all positions; 1e-5 keeps the root and the logarithm finite."""
    own = loss.config
    rows = position_rows(scene, own.teacher, own.modality, loss.student_layer, own.layer)
    student = list(zip(*(linear(loss.projection, row) for row, _ in rows), strict=True))
    teacher = list(zip(*(target for _, target in rows), strict=True))
    total = torch.zeros((), dtype=torch.float64)
    for s, t in zip(student, teacher, strict=True):
        for x, y in zip(normalised(s), normalised(t), strict=True):
            total = total + torch.abs(x - y) ** own.alpha
    return torch.log(total + 1e-5)


def normalised(column: Row) -> Row:
    """Less the mean, over the root of the variance."""
    middle = mean(column)
    variance = mean([(x - middle) ** 2 for x in column])
    return [(x - middle) / torch.sqrt(variance + 1e-5) for x in column]
