"""Mean squared error per element of projected pooled features (2307.12732, section 3.2)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import linear, mean, pooled_rows
from conformance.scene import Scene
from mmkd.losses.feature import Loss

CASES = {"text": {"teacher": "bert", "modality": "text"}, "image": {"teacher": "vit", "modality": "image"}}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row and element by element."""
    own = loss.config
    rows = pooled_rows(scene, ("student", own.modality), (own.teacher, own.modality))
    return mean(
        [
            (x - y.detach()) ** 2
            for student, teacher in rows
            for x, y in zip(linear(loss.projection, student), teacher, strict=True)
        ]
    )
