"""-(1 + p_c)^gamma log q_c - sum over the others of p_k log q_k, for each exit and the logits (2310.19444)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, exit_rows, labels, logit_rows, mean, scalars, softmax
from conformance.scene import Scene
from mmkd.losses.ofa import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert", "modality": "text", "layers": [0, 1]},
    "another modality": {"task": "risk", "teacher": "vit", "modality": "text", "layers": [1], "gamma": 1.5},
    "words": {"task": "ner", "teacher": "clip", "modality": "text", "layers": [0], "gamma": 1.2},
    "image": {"task": "sentiment", "teacher": "clip", "modality": "image", "layers": [1, 0], "gamma": 3.0},
}
SHIFTS = None  # reads features beside the logits


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Exit by exit, row by row."""
    own = loss.config
    taught = logit_rows(scene, own.task, own.teacher, labelled=True)
    total = mean(
        [
            enhanced(student, teacher, label, own.gamma)
            for (student, teacher), label in zip(taught, labels(scene, own.task, own.teacher), strict=True)
        ]
    )
    rows = exit_rows(scene, own.task, own.modality, own.layers, own.teacher)
    for n, head in enumerate(loss.exits):
        found = []
        for label, place, features in rows:
            logits = scene.teachers[own.teacher].logits[own.task][place]
            teacher = [logits[k] for k in range(len(logits))]
            found.append(enhanced(scalars(head(torch.stack(features[n]))), teacher, label, own.gamma))
        total = total + mean(found)
    return total


def enhanced(student: Row, teacher: Row, label: int, gamma: float) -> Tensor:
    q, p = softmax(student), softmax([x.detach() for x in teacher])
    value = -((1 + p[label]) ** gamma) * torch.log(q[label])
    for k in range(len(q)):
        if k != label:
            value = value - p[k] * torch.log(q[k])
    return value
