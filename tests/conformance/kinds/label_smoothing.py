"""Cross-entropy with (1 - smoothing) of the label and smoothing / K of every class (1512.00567, section 7)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import labels, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.label_smoothing import Loss

CASES = {
    "classes": {"task": "sentiment"},
    "ordered": {"task": "risk", "smoothing": 0.4},
    "words": {"task": "ner", "smoothing": 0.0},
}
COEFFICIENTS = ("smoothing",)


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Class by class of each row."""
    own = loss.config
    found = []
    for (student,), label in zip(logit_rows(scene, own.task, labelled=True), labels(scene, own.task), strict=True):
        K = len(student)
        target = [(1 - own.smoothing) * (k == label) + own.smoothing / K for k in range(K)]
        found.append(-sum(share * torch.log(q) for share, q in zip(target, softmax(student), strict=True)))
    return mean(found)
