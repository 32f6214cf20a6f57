"""Squared distance of attention maps of length 1 (1612.03928, section 3.1 and eq. 2 with its distance squared)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, kept_positions, length_one, mean, squared_distance
from conformance.scene import Scene
from mmkd.losses.attention_transfer import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
    "power": {"teacher": "bert", "layer": 3, "modality": "text", "power": 4.0},
    "one": {"teacher": "vit", "layer": 2, "modality": "image", "power": 1.0},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example; a map has one number for each position that both have."""
    own = loss.config
    kept = kept_positions(scene, own.teacher, own.modality, loss.student_layer, own.layer)
    found = []
    for rows in kept.values():
        student = length_one([strength(row, own.power) for _, row, _ in rows])
        teacher = length_one([strength(row, own.power) for _, _, row in rows])
        found.append(squared_distance(student, teacher))
    return mean(found)


def strength(row: Row, power: float) -> Tensor:
    """Sum of |a|^p over channels."""
    return sum((torch.abs(a) ** power for a in row), torch.zeros((), dtype=torch.float64))
