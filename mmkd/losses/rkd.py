"""`rkd`: relational knowledge distillation (Park et al., CVPR 2019, 1904.05068, eq. 4 to 8).

Distance-wise: the distance of each pair of examples over the mean distance of the batch, psi(i, j) = |x_i - x_j| / mu,
is drawn to the teacher's by Huber's loss with delta 1. Angle-wise: so is the cosine of the angle at j of each triple,
psi(i, j, k) = <e_ij, e_kj> with e_ij = (x_i - x_j) / |x_i - x_j|. Pairs and triples are the paper's: ordered, of
distinct examples; mu is the mean over the same pairs. The paper sums over them; we take the mean, so that the term's
size does not grow with the batch.

The authors' code and RepDistiller take the mean over all B^2 pairs and B^3 triples, those of an example with itself
included, which add zeros to the sum and count in the mean. RepDistiller is NaN at one row, where mu is a mean of none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmkd.config.section import NonNegativeFloat
from mmkd.losses import base
from mmkd.losses._math import SMALLEST_NORM, full_precision, mean_or_zero, unit
from mmkd.losses._pooled import pooled_pair
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs


class Config(PooledConfig):
    """Learn the distances and angles between the examples of a batch from a teacher's.

    modality: of the teacher's pooled feature. to: the student's feature; null: that of the same modality.
    distance, angle: weights of the two parts. Time and memory of the angles grow with the cube of the batch.
    """

    kind: Literal["rkd"] = "rkd"
    distance: NonNegativeFloat = 1.0
    angle: NonNegativeFloat = 2.0


class Loss(base.Loss):
    """Rows: the student's feature and the teacher's modality are there."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over pairs and over triples; 0 below two rows (distance) or three (angle)."""
        own, taught = pooled_pair(self.config, student, teachers)
        return self.config.distance * distance_loss(own, taught) + self.config.angle * angle_loss(own, taught)


def distance_loss(student: Float[Tensor, "R D"], teacher: Float[Tensor, "R E"]) -> Float[Tensor, ""]:
    """Huber's loss of the normalised distances, mean over ordered pairs. No gradient reaches the teacher."""
    own, target = normalised_distances(student), normalised_distances(teacher.detach())
    return mean_or_zero(functional.huber_loss(own, target.to(own.dtype), reduction="none"))


def angle_loss(student: Float[Tensor, "R D"], teacher: Float[Tensor, "R E"]) -> Float[Tensor, ""]:
    """Huber's loss of the cosines, mean over ordered triples. No gradient reaches the teacher."""
    own, target = angles(student), angles(teacher.detach())
    return mean_or_zero(functional.huber_loss(own, target.to(own.dtype), reduction="none"))


def normalised_distances(features: Float[Tensor, "R D"]) -> Float[Tensor, " P"]:
    """Distance of each ordered pair over their mean; a mean below `SMALLEST_NORM` does not stretch them."""
    distances = torch.linalg.vector_norm(differences(features)[~_same(features)], dim=-1)
    return distances / mean_or_zero(distances).clamp(min=SMALLEST_NORM)


def angles(features: Float[Tensor, "R D"]) -> Float[Tensor, " T"]:
    """Cosine of the angle at the middle of each ordered triple; equal examples have no direction, and cosine 0."""
    directions = unit(differences(features))  # [i, j]: from j to i
    cosines = torch.einsum("ijd,kjd->ijk", directions, directions)
    same = _same(features)
    return cosines[~(same[:, :, None] | same[None, :, :] | same[:, None, :])]


def differences(features: Float[Tensor, "R D"]) -> Float[Tensor, "R R D"]:
    """x_i - x_j of all pairs."""
    features = full_precision(features)
    return features[:, None] - features[None]


def _same(features: Tensor) -> Tensor:
    return torch.eye(len(features), dtype=torch.bool, device=features.device)
