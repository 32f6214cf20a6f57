"""Mean squared error of projected embeddings (1909.10351, eq. 9)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import linear, mean, position_rows
from conformance.scene import Scene
from mmkd.losses.tinybert_embedding import Loss

CASES = {"text": {"teacher": "bert", "modality": "text"}, "image": {"teacher": "vit", "modality": "image"}}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Position by position."""
    rows = position_rows(scene, loss.config.teacher, loss.config.modality, "embedding", "embedding")
    return mean(
        [(x - y) ** 2 for row, target in rows for x, y in zip(linear(loss.projection, row), target, strict=True)]
    )
