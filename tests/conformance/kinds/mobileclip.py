"""KL(teacher || student) of row-softmaxed cosines, text x image and image x text, half of each (2311.17049)."""

from __future__ import annotations

from torch import Tensor

from conformance.loops import Row, cosine, divergence, mean, pooled_rows, softmax
from conformance.scene import Scene
from mmkd.losses.mobileclip import Loss

CASES = {
    "plain": {"text": "clip", "image": "clip"},
    "temperature": {"text": "clip", "image": "clip", "temperature": 0.5},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example."""
    own, T = loss.config, loss.config.temperature
    other = T if own.teacher_temperature is None else own.teacher_temperature
    rows = pooled_rows(scene, ("student", "text"), ("student", "image"), (own.text, "text"), (own.image, "image"))
    texts, images, taught_texts, taught_images = (list(column) for column in zip(*rows, strict=True))
    taught_texts, taught_images = fixed(taught_texts), fixed(taught_images)
    from_text = [
        divergence(suits(taught_texts[k], taught_images, other), suits(texts[k], images, T)) for k in range(len(rows))
    ]
    from_image = [
        divergence(suits(taught_images[k], taught_texts, other), suits(images[k], texts, T)) for k in range(len(rows))
    ]
    return (mean(from_text) + mean(from_image)) / 2


def fixed(rows: list[Row]) -> list[Row]:
    return [[x.detach() for x in row] for row in rows]


def suits(row: Row, others: list[Row], temperature: float) -> Row:
    return softmax([cosine(row, other) for other in others], temperature)
