"""`infonce`: each example's feature finds its teacher's among those of the batch (van den Oord et al., 1807.03748).

With s the student's feature, linearly projected, and t the teacher's, the loss of example i is
-log(exp(cos(s_i, t_i) / T) / sum over j of exp(cos(s_i, t_j) / T)), mean over examples (eq. 4 of the paper, with a
cosine over temperature as the score). `both` is the mean with the other direction, where each teacher's feature finds
the student's. The negatives are the batch's; `crd` takes them from a memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._contrast import contrast
from mmkd.losses._math import full_precision
from mmkd.losses._pooled import pooled_pair, pooled_widths
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs


class Config(PooledConfig):
    """Tell the examples of a batch apart as a teacher's features do.

    modality: of the teacher's pooled feature. to: the student's feature; null: that of the same modality.
    temperature: divides all cosines; small values look at the hardest negatives only.
    both: contrast in both directions.
    """

    kind: Literal["infonce"] = "infonce"
    temperature: PositiveFloat = 0.07
    both: bool = False


class Loss(base.Loss):
    """Rows: the student's feature and the teacher's modality are there."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        self.projection = nn.Linear(*pooled_widths(config, setting))

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats; 0 for one row, which has nothing to be told from."""
        own, taught = pooled_pair(self.config, student, teachers)
        return infonce(self.projection(full_precision(own)), taught, self.config.temperature, self.config.both)


def infonce(
    projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"], temperature: float, both: bool = False
) -> Float[Tensor, ""]:
    """Contrast of the student's rows with the teacher's. No gradient reaches the teacher."""
    teacher = teacher.detach()
    value = contrast(projected, teacher, temperature)
    return (value + contrast(teacher, projected, temperature)) / 2 if both else value
