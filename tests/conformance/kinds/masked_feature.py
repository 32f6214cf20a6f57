"""Mean squared error per element of the masked input's projected feature (2307.12732, section 3.2)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import examples_with, linear, mean, scalars
from conformance.scene import LOOKS, Scene
from mmkd.losses.masked_feature import Loss

CASES = {"image": {"teacher": "vit", "modality": "image"}, "text": {"teacher": "bert", "modality": "text"}}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row and element by element: the student's of the look, the teacher's of the whole input."""
    own = loss.config
    found = []
    for example in examples_with(scene, ("student", own.modality), (own.teacher, own.modality)):
        student = scene.student.looks[LOOKS[own.modality]].pooled[own.modality][example]
        teacher = scalars(scene.teachers[own.teacher].pooled[own.modality][example].detach())
        found += [(x - y) ** 2 for x, y in zip(linear(loss.projection, scalars(student)), teacher, strict=True)]
    return mean(found)
