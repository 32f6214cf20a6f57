"""Instance, batch and class level, summed over temperatures (Jin et al. 2023, section 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import divergence, dot, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.mlld import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperatures": (1.0,), "instance": 0.5, "batch": 2.0, "classes": 3.0},
    "words": {"task": "ner", "teacher": "bert", "temperatures": (0.5, 4.0)},
}
COEFFICIENTS = ("instance", "batch", "classes")


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Entry by entry of the two matrices."""
    own = loss.config
    rows = logit_rows(scene, own.task, own.teacher)
    value = torch.zeros((), dtype=torch.float64)
    for T in own.temperatures:
        Q = [softmax(student, T) for student, _ in rows]
        P = [[x.detach() for x in softmax(teacher, T)] for _, teacher in rows]
        value = value + own.instance * mean([T**2 * divergence(p, q) for p, q in zip(P, Q, strict=True)])
        R, K = len(P), len(P[0])
        for i in range(R):
            for j in range(R):
                value = value + own.batch * (dot(P[i], P[j]) - dot(Q[i], Q[j])) ** 2 / R
        for k in range(K):
            for c in range(K):
                of_teacher = sum(P[i][k] * P[i][c] for i in range(R))
                of_student = sum(Q[i][k] * Q[i][c] for i in range(R))
                value = value + own.classes * (of_teacher - of_student) ** 2 / K
    return value
