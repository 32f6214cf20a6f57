"""Mean squared difference of Gaussian correlations, by the Taylor series of the kernel (1904.01802)."""

from __future__ import annotations

import math

from torch import Tensor

from conformance.loops import Row, cosine, feature_pairs, mean
from conformance.scene import Scene
from mmkd.losses.cc import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text"},
    "image": {"teacher": "vit", "modality": "image", "order": 1, "gamma": 1.5},
    "fused": {"teacher": "vit", "modality": "image", "to": "fused", "order": 5},
}
ONE_ROW = "finite"  # both cosines of a row with itself are 1, up to rounding


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Pair by pair."""
    own = loss.config
    students, teachers = feature_pairs(scene, own.teacher, own.modality, own.to)
    pairs = [(i, j) for i in range(len(students)) for j in range(len(students))]
    return mean(
        [
            (
                kernel(students[i], students[j], own.order, own.gamma)
                - kernel(teachers[i], teachers[j], own.order, own.gamma)
            )
            ** 2
            for i, j in pairs
        ]
    )


def kernel(a: Row, b: Row, order: int, gamma: float) -> Tensor:
    return sum(
        math.exp(-2 * gamma) * (2 * gamma) ** p / math.factorial(p) * cosine(a, b) ** p for p in range(order + 1)
    )
