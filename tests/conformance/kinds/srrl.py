"""Squared distance of the teacher's head on the projected feature to the teacher's logits, and of the features."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from conformance.loops import Row, linear, mean, places, scalars
from conformance.scene import Scene
from mmkd.losses.srrl import Loss

CASES = {
    "text": {"task": "sentiment", "teacher": "bert"},
    "image": {"task": "topics", "teacher": "vit", "features": 0.3},
    "value": {"task": "stress", "teacher": "bert", "features": 0.0},
    "both": {"task": "sentiment", "teacher": "clip"},
    "ordered": {"task": "risk", "teacher": "bert"},
}
COEFFICIENTS = ("features",)
SHIFTS = None  # reads features, not the student's logits


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row; the head read weight by weight, as the teacher has it."""
    own = loss.config
    teacher, head = scene.teachers[own.teacher], scene.setting.heads[own.teacher][own.task].module
    regression, matching = [], []
    for place in places(scene, own.task, own.teacher):
        projected = linear(loss.projection, scalars(scene.student.fused[place]))
        logits = cumulative(head, projected) if own.task == "risk" else linear(head, projected)
        said = [value.detach() for value in scalars(teacher.logits[own.task][place])]
        regression += [(x - y) ** 2 for x, y in zip(logits, said, strict=True)]
        feature: Row = []
        for modality, values in teacher.pooled.items():
            row = scalars(values[place].detach())
            feature += row if teacher.has[modality][place] else [torch.zeros((), dtype=torch.float64)] * len(row)
        matching += [(x - y) ** 2 for x, y in zip(projected, feature, strict=True)]
    return mean(regression) + own.features * mean(matching)


def cumulative(head: torch.nn.Module, row: Row) -> Row:
    """Log-probabilities of ordered classes: differences of P(y <= k) = sigmoid(threshold_k - score)."""
    (score,) = linear(head.score, row)
    thresholds = [head.first[0]]
    for gap in head.gaps:
        thresholds.append(thresholds[-1] + gap)
    below = [1 / (1 + torch.exp(score - threshold)) for threshold in thresholds]
    ends = [torch.zeros((), dtype=torch.float64), *below, torch.ones((), dtype=torch.float64)]
    return [torch.log(upper - lower) for lower, upper in itertools.pairwise(ends)]
