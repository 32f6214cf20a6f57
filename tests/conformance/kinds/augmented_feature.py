"""CLIP's contrast of texts and images, each a linear function of student's and teacher's feature (2307.12732)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, cosine, length_one, linear, mean, pooled_rows, softmax
from conformance.scene import Scene
from mmkd.losses.augmented_feature import Loss

CASES = {
    "two teachers": {"text": "bert", "image": "vit"},
    "one teacher": {"text": "clip", "image": "clip", "temperature": 0.4},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example."""
    own = loss.config
    rows = pooled_rows(scene, ("student", "text"), ("student", "image"), (own.text, "text"), (own.image, "image"))
    texts = [linear(loss.text, together(row[0], row[2])) for row in rows]
    images = [linear(loss.image, together(row[1], row[3])) for row in rows]
    found = []
    for k in range(len(rows)):
        found.append(-torch.log(softmax([cosine(images[k], text) for text in texts], own.temperature)[k]))
        found.append(-torch.log(softmax([cosine(texts[k], image) for image in images], own.temperature)[k]))
    return mean(found)


def together(student: Row, teacher: Row) -> Row:
    return [*length_one(student), *length_one([x.detach() for x in teacher])]
