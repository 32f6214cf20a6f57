"""Squared maximum mean discrepancy of the channels' patterns (1707.01219, polynomial kernel)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import Row, dot, kept_positions, length_one, mean
from conformance.scene import Scene
from mmkd.losses.nst import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
    "cubic": {"teacher": "bert", "layer": 3, "modality": "text", "degree": 3, "offset": 0.5},
    "linear": {"teacher": "vit", "layer": 2, "modality": "image", "degree": 1},
}
COEFFICIENTS = ("offset",)


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example, over all pairs of channels."""
    own = loss.config

    def kernels(first: list[Row], second: list[Row]) -> Tensor:
        return mean([(dot(x, y) + own.offset) ** own.degree for x in first for y in second])

    found = []
    for rows in kept_positions(scene, own.teacher, own.modality, loss.student_layer, own.layer).values():
        student = channels([row for _, row, _ in rows])
        teacher = channels([row for _, _, row in rows])
        found.append(kernels(teacher, teacher) + kernels(student, student) - 2 * kernels(teacher, student))
    return mean(found)


def channels(rows: list[Row]) -> list[Row]:
    """Each channel's activations over the positions, scaled to length 1."""
    return [length_one(column) for column in zip(*rows, strict=True)]
