"""Contrast of the student's images with a teacher's texts, and of its texts with a teacher's images (2307.12732)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, cosine, linear, mean, pooled_rows, softmax
from conformance.scene import Scene
from mmkd.losses.interactive_contrastive import Loss

CASES = {
    "two teachers": {"text": "bert", "image": "vit"},
    "one teacher": {"text": "clip", "image": "clip", "temperature": 0.4},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example."""
    own = loss.config
    rows = pooled_rows(scene, ("student", "text"), ("student", "image"), (own.text, "text"), (own.image, "image"))
    images, texts = [linear(loss.image_to_text, row[1]) for row in rows], [[x.detach() for x in row[2]] for row in rows]
    to_text = contrast(images, texts, own.temperature)
    texts, images = [linear(loss.text_to_image, row[0]) for row in rows], [[x.detach() for x in row[3]] for row in rows]
    return (to_text + contrast(texts, images, own.temperature)) / 2


def contrast(rows: list[Row], others: list[Row], temperature: float) -> Tensor:
    chances = [softmax([cosine(row, other) for other in others], temperature)[i] for i, row in enumerate(rows)]
    return mean([-torch.log(chance) for chance in chances])
