"""-p_c log q_c - gamma T^2 sum of p'_k log q'_k over the other classes, mean over rows (2303.13005, section 3.1)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import labels, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.nkd import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 4.0, "gamma": 0.5},
    "words": {"task": "ner", "teacher": "bert", "temperature": 2.0},
}
# The label's part has no temperature, and the other part's gradient keeps its size.
STEADY = "temperature"
COEFFICIENTS = ("gamma",)


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row, with probabilities divided by their sum."""
    own, T = loss.config, loss.config.temperature
    rows = logit_rows(scene, own.task, own.teacher, labelled=True)
    found = []
    for (student, teacher), label in zip(rows, labels(scene, own.task, own.teacher), strict=True):
        teacher = [x.detach() for x in teacher]
        value = -softmax(teacher)[label] * torch.log(softmax(student)[label])
        soft_q, soft_p = softmax(student, T), softmax(teacher, T)
        for k in range(len(student)):
            if k != label:
                p, q = soft_p[k] / (1 - soft_p[label]), soft_q[k] / (1 - soft_q[label])
                value = value - own.gamma * T**2 * p * torch.log(q)
        found.append(value)
    return mean(found)
