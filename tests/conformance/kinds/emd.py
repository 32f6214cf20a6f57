"""Sum of squared differences of cumulative probabilities, mean over rows (1611.05916)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import logit_rows, mean, softmax
from conformance.scene import Scene
from mmkd.losses.emd import Loss

CASES = {
    "text": {"task": "risk", "teacher": "bert"},
    "image": {"task": "risk", "teacher": "vit"},
}


def formula(loss: Loss, scene: Scene) -> Tensor:
    """All K classes, the last of which adds 0."""
    found = []
    for student, teacher in logit_rows(scene, loss.config.task, loss.config.teacher):
        q, p = softmax(student), softmax([x.detach() for x in teacher])
        value, cumulative_q, cumulative_p = torch.zeros((), dtype=torch.float64), 0.0, 0.0
        for k in range(len(q)):
            cumulative_q, cumulative_p = cumulative_q + q[k], cumulative_p + p[k]
            value = value + (cumulative_q - cumulative_p) ** 2
        found.append(value)
    return mean(found)
