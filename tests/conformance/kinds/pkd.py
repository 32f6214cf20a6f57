"""Squared distance of mean states of length 1, summed over layer pairs (1908.09355, section 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, kept_positions, length_one, linear, mean, squared_distance
from conformance.scene import Scene
from mmkd.losses.pkd import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text", "pairs": [[0, 1], [1, 3]]},
    "one_pair": {"teacher": "bert", "modality": "text", "pairs": [[0, 3]]},
    "image": {"teacher": "vit", "modality": "image", "pairs": [[1, 2], [0, 0], [0, 2]]},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Pair by pair, example by example."""
    own = loss.config
    total = torch.zeros((), dtype=torch.float64)
    for (student_layer, layer), projection in zip(own.pairs, loss.projections, strict=True):
        distances = []
        for rows in kept_positions(scene, own.teacher, own.modality, student_layer, layer).values():
            student, teacher = middle([row for _, row, _ in rows]), middle([row for _, _, row in rows])
            distances.append(squared_distance(length_one(linear(projection, student)), length_one(teacher)))
        total = total + mean(distances)
    return total


def middle(rows: list[Row]) -> Row:
    """The mean vector."""
    return [mean(column) for column in zip(*rows, strict=True)]
