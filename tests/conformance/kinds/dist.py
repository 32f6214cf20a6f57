"""beta inter + gamma intra: 1 - Pearson's correlation of rows and of columns (2205.10536)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.dist import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit", "temperature": 4.0, "beta": 0.5, "gamma": 3.0},
    "words": {"task": "ner", "teacher": "bert", "temperature": 2.0},
}
STEADY = "temperature"
COEFFICIENTS = ("beta", "gamma")


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Rows first, then columns."""
    own, T = loss.config, loss.config.temperature
    student, teacher = [], []
    for row, target in logit_rows(scene, own.task, own.teacher):
        student.append(softmax(row, T))
        teacher.append([x.detach() for x in softmax(target, T)])
    inter = mean([1 - pearson(u, v) for u, v in zip(student, teacher, strict=True)])
    columns = zip(zip(*student, strict=True), zip(*teacher, strict=True), strict=True)
    intra = mean([1 - pearson(list(u), list(v)) for u, v in columns])
    return own.beta * inter + own.gamma * intra


def pearson(u: Row, v: Row) -> Tensor:
    """Covariance over the product of the deviations."""
    middle_u, middle_v = mean(u), mean(v)
    covariance = mean([(a - middle_u) * (b - middle_v) for a, b in zip(u, v, strict=True)])
    variances = mean([(a - middle_u) ** 2 for a in u]) * mean([(b - middle_v) ** 2 for b in v])
    return covariance / torch.sqrt(variances)
