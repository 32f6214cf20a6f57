"""Squared error of a teacher that is generated from the student with masked positions (2205.01529)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, kept_positions, linear, mean
from conformance.scene import Scene
from mmkd.losses.mgd import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0, "masked": 0.2},
    "all_visible": {"teacher": "bert", "layer": 3, "modality": "text", "masked": 0.0},
    "all_masked": {"teacher": "vit", "layer": 2, "modality": "image", "masked": 1.0},
}
IDLE = ("all_masked",)


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Position by position, each from its neighbours that are there and not masked."""
    own = loss.config
    kept = kept_positions(scene, own.teacher, own.modality, loss.student_layer, own.layer)
    torch.manual_seed(3)
    Loss(own, scene.setting)  # the suite draws the parameters first; what is drawn next is the mask
    count = scene.batch.word_mask.shape[1] if own.modality == "text" else 4
    drawn = torch.rand(len(scene.batch.ids), count)
    first, _, second = loss.generation
    errors = []
    for example, rows in kept.items():
        seen = {
            place: linear(loss.projection, row) for place, row, _ in rows if float(drawn[example, place]) >= own.masked
        }
        # At every place, kept or not: the second convolution reads them all.
        between = {
            place: [torch.relu(value) for value in convolved(first, seen, place, count)] for place in range(count)
        }
        for place, _, target in rows:
            made = convolved(second, between, place, count)
            errors += [(x - y) ** 2 for x, y in zip(target, made, strict=True)]
    return mean(errors)


def convolved(layer: torch.nn.Module, features: dict[int, Row], place: int, count: int) -> Row:
    """A convolution of width 3 at one place; places that are not in `features` count as 0. An image's grid is 2 x 2."""
    weight, found = layer.weight, []
    for out in range(weight.shape[0]):
        total = layer.bias[out]
        if weight.ndim == 3:
            neighbours = [(place + t - 1, (t,)) for t in range(3) if 0 <= place + t - 1 < count]
        else:
            i, j = divmod(place, 2)
            neighbours = [
                (2 * (i + a - 1) + j + b - 1, (a, b))
                for a in range(3)
                for b in range(3)
                if 0 <= i + a - 1 < 2 and 0 <= j + b - 1 < 2
            ]
        for other, tap in neighbours:
            for c, value in enumerate(features.get(other, [])):
                total = total + weight[(out, c, *tap)] * value
        found.append(total)
    return found
