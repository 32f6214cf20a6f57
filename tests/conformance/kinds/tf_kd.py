"""T^2 KL(p_T || q_T) from a virtual teacher that is right with probability a (1909.11723, eq. 8 and 9)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import divergence, labels, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.tf_kd import Loss

CASES = {
    "classes": {"task": "sentiment"},
    "ordered": {"task": "risk", "correct": 0.6, "temperature": 2.0},
    "words": {"task": "ner", "correct": 0.99, "temperature": 1.0},
}
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row; the teacher's probabilities raised to the power 1/T, over their sum."""
    own, T = loss.config, loss.config.temperature
    found = []
    for (student,), label in zip(logit_rows(scene, own.task, labelled=True), labels(scene, own.task), strict=True):
        K = len(student)
        teacher = [own.correct if k == label else (1 - own.correct) / (K - 1) for k in range(K)]
        powers = [torch.tensor(p, dtype=torch.float64) ** (1 / T) for p in teacher]
        found.append(T**2 * divergence([power / sum(powers) for power in powers], softmax(student, T)))
    return mean(found)
