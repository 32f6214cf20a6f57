"""Mean squared error per element to the teacher's feature, centred, rotated and scaled (2410.01680).

The mean and the rotation are the term's own, as a projection is; what they must be is in tests/losses/test_phi_s.py.
"""

from __future__ import annotations

import torch
from torch import Tensor

from conformance.loops import dot, feature_pairs, linear, mean, scalars
from conformance.scene import Scene
from mmkd.losses.phi_s import Loss

CASES = {
    "text": {"teacher": "bert", "modality": "text"},
    "image": {"teacher": "vit", "modality": "image"},
    "fused": {"teacher": "clip", "modality": "image", "to": "fused"},
}


def prepare(loss: Loss) -> None:
    """The time of counting is over: 50 features were seen."""
    generator = torch.Generator().manual_seed(6)
    features = torch.randn(50, len(loss.mean), generator=generator, dtype=torch.float64)
    loss.add(features * torch.linspace(0.3, 2.0, len(loss.mean), dtype=torch.float64) + 0.4)
    loss.progress = loss.config.until


def formula(loss: Loss, scene: Scene) -> Tensor:
    """Row by row and dimension by dimension."""
    loss.fix()
    errors = []
    for student, teacher in zip(
        *feature_pairs(scene, loss.config.teacher, loss.config.modality, loss.config.to), strict=True
    ):
        centred = [value - middle for value, middle in zip(teacher, scalars(loss.mean), strict=True)]
        target = [dot(scalars(row), centred) for row in loss.rotation]
        errors += [(x - y) ** 2 for x, y in zip(linear(loss.projection, student), target, strict=True)]
    return mean(errors)
