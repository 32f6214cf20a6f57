"""Each branch's cross-entropy, plus the divergence of the other's probabilities from its own (1706.00384, eq. 5-8)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import divergence, linear, mean, scalars, softmax
from conformance.scene import Scene
from mmkd.losses.mutual import Loss

CASES = {
    "plain": {"task": "sentiment"},
    "divergence": {"task": "sentiment", "divergence": 0.3},
    "labels alone": {"task": "sentiment", "divergence": 0.0},
}
COEFFICIENTS = ("divergence",)
NOT_A_GRADIENT = "each branch takes the other's probabilities as they are, so the value's own gradient is larger"
SHIFTS = None  # reads features, not the student's logits


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Example by example."""
    found = []
    for n in range(len(scene.batch.ids)):
        has = scene.student.has
        if not (has["text"][n] and has["image"][n] and scene.batch.has_label["sentiment"][n]):
            continue
        label = int(scene.batch.labels["sentiment"][n])
        text = softmax(linear(loss.text, scalars(scene.student.pooled["text"][n])))
        image = softmax(linear(loss.image, scalars(scene.student.pooled["image"][n])))
        value = -torch.log(text[label]) - torch.log(image[label])
        for mine, theirs in ((text, image), (image, text)):
            value = value + loss.config.divergence * divergence([p.detach() for p in theirs], mine)
        found.append(value)
    return mean(found)
