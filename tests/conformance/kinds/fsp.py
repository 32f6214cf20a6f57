"""Squared distance of the products of two layers, mean over positions (Yim et al., CVPR 2017, eq. 1 and 2)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import kept_positions, linear, mean
from conformance.scene import Scene
from mmkd.losses.fsp import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text", "pairs": [[0, 1], [1, 3]]},
    "image": {"teacher": "vit", "modality": "image", "pairs": [[0, 0], [1, 2]]},
    "one_layer": {"teacher": "vit", "modality": "image", "pairs": [[1, 2], [1, 2]]},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example, entry by entry of the matrix."""
    own = loss.config
    lower, upper = (kept_positions(scene, own.teacher, own.modality, *pair) for pair in own.pairs)
    found = []
    for example, rows in lower.items():
        pairs = list(zip(rows, upper[example], strict=True))
        student = [(linear(loss.lower, a), linear(loss.upper, b)) for (_, a, _), (_, b, _) in pairs]
        teacher = [(a, b) for (_, _, a), (_, _, b) in pairs]
        for i in range(len(teacher[0][0])):
            for j in range(len(teacher[0][1])):
                difference = mean([f[i] * h[j] for f, h in teacher]) - mean([f[i] * h[j] for f, h in student])
                found.append(difference**2)
    return mean(found)
