"""T^2 KL(teacher || student) at temperature T, mean over rows (1503.02531, section 2; 2403.01427, eq. 8 to 10)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, divergence, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.logit_kl import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 2.0},
    "words": {"task": "ner", "teacher": "bert", "temperature": 1.0},
    "standardize": {"task": "risk", "teacher": "bert", "standardize": True},
}
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row."""
    own, T = loss.config, loss.config.temperature
    found = []
    for student, teacher in logit_rows(scene, own.task, own.teacher):
        if own.standardize:
            student, teacher = z_scores(student), z_scores(teacher)
        found.append(T**2 * divergence(softmax([x.detach() for x in teacher], T), softmax(student, T)))
    return mean(found)


def z_scores(row: Row) -> Row:
    """Less the mean, over the population's deviation."""
    middle = mean(row)
    deviation = torch.sqrt(mean([(x - middle) ** 2 for x in row]))
    return [(x - middle) / deviation for x in row]
