"""p-norm between factors of length 1, plus the squared error of the paraphraser's own work (1802.04977)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, kept_positions, length_one, linear, mean
from conformance.scene import Scene
from mmkd.losses.factor_transfer import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "squares": {"teacher": "bert", "layer": 1, "modality": "text", "student_layer": 0, "p": 2},
    "all_channels": {"teacher": "vit", "layer": 0, "modality": "image", "rate": 1.0, "p": 2},
    "one_channel": {"teacher": "bert", "layer": 3, "modality": "text", "rate": 0.01},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example: the factors of its positions one after another, as one vector."""
    own = loss.config
    kept = kept_positions(scene, own.teacher, own.modality, loss.student_layer, own.layer)
    distances, errors = [], []
    for rows in kept.values():
        student: Row = []
        teacher: Row = []
        for _, mine, theirs in rows:
            student += leaky(linear(loss.translator[0], mine))
            factor = leaky(linear(loss.paraphraser[0], theirs))
            teacher += [value.detach() for value in factor]
            made = linear(loss.reconstruction, factor)
            errors += [(x - y) ** 2 for x, y in zip(theirs, made, strict=True)]
        differences = [torch.abs(x - y) for x, y in zip(length_one(student), length_one(teacher), strict=True)]
        distances.append(sum(d**own.p for d in differences) ** (1 / own.p))
    return mean(distances) + mean(errors)


def leaky(row: Row) -> Row:
    return [value if value > 0 else 0.1 * value for value in row]
