"""|G_teacher - G_student|_F^2 / B^2, rows of G = Q Q' of length 1 (1907.09682, eq. 1 to 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, dot, feature_pairs, mean
from conformance.scene import Scene
from mmkd.losses.sp import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text"},
    "image": {"teacher": "vit", "modality": "image"},
    "fused": {"teacher": "bert", "modality": "text", "to": "fused"},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Pair by pair."""
    students, teachers = feature_pairs(scene, loss.config.teacher, loss.config.modality, loss.config.to)
    pairs = zip(matrix(students), matrix(teachers), strict=True)
    return mean([(s - t) ** 2 for own, target in pairs for s, t in zip(own, target, strict=True)])


def matrix(rows: list[Row]) -> list[Row]:
    products = [[dot(a, b) for b in rows] for a in rows]
    return [[value / torch.sqrt(dot(row, row)) for value in row] for row in products]
