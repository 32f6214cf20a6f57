"""`sp`: similarity-preserving distillation (Tung and Mori, ICCV 2019, 1907.09682, eq. 1 to 4).

Two examples that are alike to the teacher should be alike to the student. With G the matrix of inner products of the
batch's features, each row scaled to L2 length 1, the loss is |G_teacher - G_student|_F^2 / B^2. torchdistill scales the
rows to L1 length 1 instead, which gives less than half of the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkd.losses import base
from mmkd.losses._math import SMALLEST_NORM, full_precision, mean_or_zero, unit
from mmkd.losses._pooled import pooled_pair
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs


class Config(PooledConfig):
    """Learn which examples of a batch are alike from a teacher's features.

    modality: of the teacher's pooled feature. to: the student's feature; null: that of the same modality.
    """

    kind: Literal["sp"] = "sp"


class Loss(base.Loss):
    """Rows: the student's feature and the teacher's modality are there."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over pairs of rows, an example with itself included; 0 for one row."""
        return similarity_preserving(*pooled_pair(self.config, student, teachers))


def similarity_preserving(student: Float[Tensor, "R D"], teacher: Float[Tensor, "R E"]) -> Float[Tensor, ""]:
    """Squared difference of the two matrices, mean over elements. No gradient reaches the teacher."""
    own, target = similarity(student), similarity(teacher.detach())
    return mean_or_zero((own - target).square())


def similarity(features: Float[Tensor, "R D"]) -> Float[Tensor, "R R"]:
    """Inner products of all pairs, each row scaled to length 1.

    Neither the length of the row's own vector nor a common scale of the others changes a scaled row, so both are taken
    out first: squares of small features would fall below what `unit` stretches.
    """
    features = full_precision(features)
    lengths = torch.linalg.vector_norm(features.detach(), dim=-1)
    scale = lengths.amax().clamp(min=SMALLEST_NORM) if len(features) else 1.0
    return unit(unit(features) @ (features / scale).T)
