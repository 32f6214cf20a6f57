"""Mean squared error per element of what stands before the teacher's head (2203.14001)."""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import Row, mean, places, scalars
from conformance.scene import TAKEN, Scene
from mmkd.losses.simkd import Loss

CASES = {teacher: {"task": task, "teacher": teacher} for task, teacher in TAKEN.items()}
SHIFTS = None  # reads features, not logits


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Element by element; zeros for a modality that the example lacks."""
    own, teacher = loss.config, scene.teachers[loss.config.teacher]
    errors = []
    for place in places(scene, own.task, own.teacher):
        feature: Row = []
        for modality, values in teacher.pooled.items():
            row = scalars(values[place].detach())
            feature += row if teacher.has[modality][place] else [torch.zeros((), dtype=torch.float64)] * len(row)
        own_row = scalars(scene.student.projected[own.task][place])
        errors += [(x - y) ** 2 for x, y in zip(own_row, feature, strict=True)]
    return mean(errors)
