"""Huber's loss of normalised distances and of angles, over ordered pairs and triples (1904.05068, eq. 4 to 8)."""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from conformance.loops import Row, dot, feature_pairs, mean
from conformance.scene import Scene
from mmkd.losses.rkd import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text"},
    "image": {"teacher": "vit", "modality": "image", "distance": 25.0, "angle": 50.0},
    "fused": {"teacher": "vit", "modality": "image", "to": "fused", "angle": 0.0},
    "across": {"teacher": "bert", "modality": "text", "to": "image", "distance": 0.0},
}
ONE_ROW = "zero"
COEFFICIENTS = ("distance", "angle")


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Pair by pair, triple by triple."""
    own = loss.config
    students, teachers = feature_pairs(scene, own.teacher, own.modality, own.to)
    return own.distance * distances(students, teachers) + own.angle * angles(students, teachers)


def length(row: Row) -> Tensor:
    return torch.sqrt(dot(row, row))


def less(a: Row, b: Row) -> Row:
    return [x - y for x, y in zip(a, b, strict=True)]


def huber(a: Tensor, b: Tensor) -> Tensor:
    error = abs(a - b)
    return error**2 / 2 if error <= 1 else error - 0.5


def distances(students: list[Row], teachers: list[Row]) -> Tensor:
    found = []
    pairs = list(permutations(range(len(students)), 2))
    for rows in (students, teachers):
        plain = [length(less(rows[i], rows[j])) for i, j in pairs]
        found.append([each / mean(plain) for each in plain])
    return mean([huber(s, t) for s, t in zip(*found, strict=True)])


def angles(students: list[Row], teachers: list[Row]) -> Tensor:
    return mean(
        [
            huber(angle(*(students[n] for n in triple)), angle(*(teachers[n] for n in triple)))
            for triple in permutations(range(len(students)), 3)
        ]
    )


def angle(a: Row, middle: Row, b: Row) -> Tensor:
    one, other = less(a, middle), less(b, middle)
    return dot(one, other) / length(one) / length(other)
