"""-log h of the pair, - log(1 - h) of each negative, with h = e^(cos / T) / (e^(cos / T) + N / M) (1910.10699).

The memory starts empty, so what it holds at the first step is the batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import cosine, feature_pairs, linear, mean
from conformance.scene import Scene
from mmkd.losses.crd import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text", "memory": 9},
    "image": {"teacher": "vit", "modality": "image", "temperature": 0.5, "width": 3, "memory": 7},
    "fused": {"teacher": "bert", "modality": "text", "to": "fused", "temperature": 1.0},
}
ONE_ROW = "zero"


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Pair by pair."""
    own = loss.config
    students, teachers = feature_pairs(scene, own.teacher, own.modality, own.to)
    students = [linear(loss.student, row) for row in students]
    teachers = [linear(loss.teacher, row) for row in teachers]
    odds = (len(teachers) - 1) / own.memory

    def critic(i: int, j: int) -> Tensor:
        agreement = torch.exp(cosine(teachers[j], students[i]) / own.temperature)
        return agreement / (agreement + odds)

    rows = range(len(students))
    return mean(
        [-torch.log(critic(i, i)) - sum(torch.log(1 - critic(i, j)) for j in rows if j != i) for i in rows],
    )
