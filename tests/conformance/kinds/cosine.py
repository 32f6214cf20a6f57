"""1 - cosine of projected hidden states, mean over positions (1910.01108)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import cosine, linear, mean, position_rows
from conformance.scene import Scene
from mmkd.losses.cosine import Loss

CASES = {
    "text": {"teacher": "bert", "layer": 3, "modality": "text"},
    "image": {"teacher": "vit", "layer": 2, "modality": "image", "student_layer": 1},
    "lower": {"teacher": "vit", "layer": 0, "modality": "image", "student_layer": 0},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Position by position."""
    own = loss.config
    rows = position_rows(scene, own.teacher, own.modality, loss.student_layer, own.layer)
    return mean([1 - cosine(linear(loss.projection, row), target) for row, target in rows])
