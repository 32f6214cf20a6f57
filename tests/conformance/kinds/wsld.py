"""-(1 - exp(-c_s / c_t)) T^2 sum of p_k log q_k, mean over rows, the weight held fixed (2102.00650)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import labels, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.wsld import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 4.0},
    "words": {"task": "ner", "teacher": "bert", "temperature": 1.0},
}
STEADY = "temperature"
NOT_A_GRADIENT = "the weight depends on the student and is held fixed when the gradient is taken"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row."""
    own, T = loss.config, loss.config.temperature
    rows = logit_rows(scene, own.task, own.teacher, labelled=True)
    found = []
    for (student, teacher), label in zip(rows, labels(scene, own.task, own.teacher), strict=True):
        teacher = [x.detach() for x in teacher]
        of_student, of_teacher = (-torch.log(softmax(row)[label]).detach() for row in (student, teacher))
        weight = 1 - torch.exp(-of_student / of_teacher)
        soft = zip(softmax(teacher, T), softmax(student, T), strict=True)
        found.append(-weight * T**2 * sum(p * torch.log(q) for p, q in soft))
    return mean(found)
