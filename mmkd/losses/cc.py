"""`cc`: correlation congruence (Peng et al., ICCV 2019, 1904.01802).

The correlation of each pair of examples under a Gaussian kernel, k(x, y) = exp(-gamma |x - y|^2), is drawn to the
teacher's: the squared difference of the two matrices over B^2. The paper expands the kernel of features of length 1,
where |x - y|^2 = 2 - 2 <x, y>, into its Taylor series up to the order P:
k(x, y) = sum over p = 0 ... P of exp(-2 gamma) (2 gamma)^p / p! <x, y>^p.

RepDistiller's term of this name multiplies the differences of student and teacher on neighbouring rows, which is
another loss: it depends on the order of the batch and may be negative.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.section import PositiveFloat, PositiveInt
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.losses._pooled import pooled_pair
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs


class Config(PooledConfig):
    """Learn the correlations between the examples of a batch from a teacher's features.

    modality: of the teacher's pooled feature. to: the student's feature; null: that of the same modality.
    order: the last power of the series. gamma: of the kernel; large values look at close neighbours only.
    """

    kind: Literal["cc"] = "cc"
    order: PositiveInt = 2
    gamma: PositiveFloat = 0.4


class Loss(base.Loss):
    """Rows: the student's feature and the teacher's modality are there."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over pairs of rows, an example with itself included; 0 for one row."""
        own, taught = pooled_pair(self.config, student, teachers)
        return correlation_congruence(own, taught, self.config.order, self.config.gamma)


def correlation_congruence(
    student: Float[Tensor, "R D"], teacher: Float[Tensor, "R E"], order: int, gamma: float
) -> Float[Tensor, ""]:
    """Squared difference of the two matrices, mean over elements. No gradient reaches the teacher."""
    own, target = correlation(student, order, gamma), correlation(teacher.detach(), order, gamma)
    return mean_or_zero((own - target).square())


def correlation(features: Float[Tensor, "R D"], order: int, gamma: float) -> Float[Tensor, "R R"]:
    """The kernel's series for all pairs."""
    directions = unit(full_precision(features))
    cosines = directions @ directions.T
    # Horner's rule, from the last power down: each step is 1 + 2 gamma cosine / p times what is there.
    series = cosines.new_ones(cosines.shape)
    for power in range(order, 0, -1):
        series = 1 + 2 * gamma / power * cosines * series
    return math.exp(-2 * gamma) * series
