"""`tinybert_embedding`: the student's embeddings, linearly projected, regress a teacher's (1909.10351, eq. 9).

Jiao et al. 2020: MSE(E_S W_e, E_T), E being what the first block reads: words with their positions, after any norm. W_e
has no bias. MSE is the mean per element, of the words that both tokenizers kept: the authors' code leaves padding in,
and adds a bias. For images, the embeddings are those of patches, or what a ConvNet's first stage reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.layers import EMBEDDING
from mmkd.config.plugin_base import LossConfig, Modality, StudentNeeds, TeacherNeeds
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.losses._positions import positions
from mmkd.types import Batch, Outputs


class Config(LossConfig):
    """Learn a teacher's embeddings, position by position. The teacher's `layers` have `embedding` then."""

    kind: Literal["tinybert_embedding"] = "tinybert_embedding"
    teacher: str
    modality: Modality

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's embeddings."""
        return (TeacherNeeds(self.teacher, layers=(EMBEDDING,), modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The student's embeddings."""
        return StudentNeeds(modalities=(self.modality,), layers=((self.modality, EMBEDDING),))


class Loss(base.Loss):
    """Rows: the positions that both have (see `_positions.py`)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        own = setting.student.hidden[config.modality][EMBEDDING]
        target = setting.teachers[config.teacher].hidden[config.modality][EMBEDDING]
        self.projection = nn.Linear(own, target, bias=False)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over positions. Raises ValueError when positions differ in number and have no grid."""
        config = self.config
        own, target = positions(student, teachers[config.teacher], config.modality, EMBEDDING, EMBEDDING).rows()
        return tinybert_embedding(self.projection(own), target)


def tinybert_embedding(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element over positions. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(projected) - full_precision(teacher.detach())).square())
