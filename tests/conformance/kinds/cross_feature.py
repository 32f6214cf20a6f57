"""A projected feature against a teacher's of another modality: 1 - cosine, or mean squared error per element."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import cosine, examples_with, linear, mean, scalars
from conformance.scene import Scene
from mmkd.losses.cross_feature import Loss

CASES = {
    "text": {"teacher": "vit", "to": "text"},
    "image": {"teacher": "bert", "to": "image", "distance": "mse"},
    "fused": {"teacher": "vit", "to": "fused"},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row. A student has a fused feature of each example that it reads anything of."""
    own = loss.config
    modality = {"bert": "text", "vit": "image"}[own.teacher]
    found = []
    for example in examples_with(scene, (own.teacher, modality)):
        if own.to != "fused" and not scene.student.has[own.to][example]:
            continue
        feature = scene.student.fused if own.to == "fused" else scene.student.pooled[own.to]
        student = linear(loss.projection, scalars(feature[example]))
        teacher = [x.detach() for x in scalars(scene.teachers[own.teacher].pooled[modality][example])]
        if own.distance == "cosine":
            found.append(1 - cosine(student, teacher))
        else:
            found += [(x - y) ** 2 for x, y in zip(student, teacher, strict=True)]
    return mean(found)
