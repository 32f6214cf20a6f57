"""T^2 KL of each label's two outcomes at temperature T, mean over rows and labels."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import divergence, logit_rows, mean
from conformance.scene import Scene
from mmkd.losses.binary_kl import Loss

CASES = {
    "text": {"task": "topics", "teacher": "bert"},
    "image": {"task": "topics", "teacher": "vit", "temperature": 3.0},
}
STEADY = "temperature"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row and label by label."""
    T, found = loss.config.temperature, []
    for student, teacher in logit_rows(scene, "topics", loss.config.teacher):
        for own, taught in zip(student, teacher, strict=True):
            q, p = 1 / (1 + torch.exp(-own / T)), 1 / (1 + torch.exp(-taught.detach() / T))
            found.append(T**2 * divergence([p, 1 - p], [q, 1 - q]))
    return mean(found)
