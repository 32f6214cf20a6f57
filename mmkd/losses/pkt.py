"""`pkt`: probabilistic knowledge transfer (Passalis and Tefas, ECCV 2018, 1803.10837).

For each example the others are its neighbours with the probability p(j | i) = K(i, j) / sum over k != i of K(i, k),
where K = (cosine + 1) / 2. The loss is KL(teacher || student) of these, mean over examples. As in the paper an example
is no neighbour of itself. The authors' code keeps it in, adds 1e-7 inside the logarithm, and takes the mean over all
pairs, which divides by B once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkd.losses import base
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero, unit
from mmkd.losses._pooled import pooled_pair
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs

SMALLEST_KERNEL = 1e-6
"""Opposite vectors would be neighbours with probability 0, which has no logarithm."""


class Config(PooledConfig):
    """Learn the neighbours of each example of a batch from a teacher's features.

    modality: of the teacher's pooled feature. to: the student's feature; null: that of the same modality.
    """

    kind: Literal["pkt"] = "pkt"


class Loss(base.Loss):
    """Rows: the student's feature and the teacher's modality are there."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats; 0 below three rows, where there is but one neighbour."""
        return probabilistic_transfer(*pooled_pair(self.config, student, teachers))


def probabilistic_transfer(student: Float[Tensor, "R D"], teacher: Float[Tensor, "R E"]) -> Float[Tensor, ""]:
    """KL(teacher || student) of the neighbours, mean over rows. No gradient reaches the teacher."""
    own, target = neighbours(student), neighbours(teacher.detach())
    return mean_or_zero(kl_divergence(target.to(own.dtype), own))


def neighbours(features: Float[Tensor, "R D"]) -> Float[Tensor, "R N"]:
    """Log-probabilities of each example's N = R - 1 neighbours."""
    directions = unit(full_precision(features))
    kernel = ((directions @ directions.T + 1) / 2).clamp(min=SMALLEST_KERNEL)
    rows = len(features)
    others = ~torch.eye(rows, dtype=torch.bool, device=features.device)
    return kernel[others].reshape(rows, max(rows - 1, 0)).log().log_softmax(-1)
