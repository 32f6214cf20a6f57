"""Squared error between the gradients of CLIP's loss to the student's and the teacher's features (2307.12732).

The loop writes the contrastive loss down, and has its gradient taken by autograd, where the term has a closed form.
"""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, dot, linear, mean, pooled_rows, softmax
from conformance.scene import Scene
from mmkd.losses.gradient_distil import Loss

CASES = {
    "plain": {"text": "clip", "image": "clip"},
    "temperature": {"text": "clip", "image": "clip", "temperature": 0.5},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Scalar by scalar."""
    own, T = loss.config, loss.config.temperature
    other = T if own.teacher_temperature is None else own.teacher_temperature
    rows = pooled_rows(scene, ("student", "text"), ("student", "image"), (own.text, "text"), (own.image, "image"))
    texts, images, taught_texts, taught_images = (list(column) for column in zip(*rows, strict=True))
    if isinstance(loss.text, torch.nn.Linear):
        texts, images = [linear(loss.text, row) for row in texts], [linear(loss.image, row) for row in images]
    student = gradients(texts, images, T)
    teacher = gradients(fixed(taught_texts), fixed(taught_images), other)
    return sum(
        mean([(a - b.detach()) ** 2 for a, b in zip(one, other, strict=True)])
        for one, other in zip(student, teacher, strict=True)
    )


def fixed(rows: list[Row]) -> list[Row]:
    return [[x.detach().requires_grad_() for x in row] for row in rows]


def unit(row: Row) -> Row:
    return [x / torch.sqrt(dot(row, row)) for x in row]


def gradients(texts: list[Row], images: list[Row], temperature: float) -> tuple[Row, Row]:
    texts, images = [unit(row) for row in texts], [unit(row) for row in images]
    losses = []
    for k in range(len(texts)):
        losses.append(-torch.log(softmax([dot(images[k], text) for text in texts], temperature)[k]) / 2)
        losses.append(-torch.log(softmax([dot(texts[k], image) for image in images], temperature)[k]) / 2)
    flat = [[x for row in rows for x in row] for rows in (texts, images)]
    found = torch.autograd.grad(mean(losses) * 2, [*flat[0], *flat[1]], create_graph=True)
    return list(found[: len(flat[0])]), list(found[len(flat[0]) :])
