"""`feature`: the student's pooled feature of a modality, projected, regresses a teacher's of the same modality.

The feature distillation of CLIP-KD (2307.12732, section 3.2): the squared distance of paired features, there after a
linear projection where widths differ. We take the mean per element, as `hint` does, so that the term's size does not
grow with the teacher's width. What a teacher of the other modality teaches is `cross_feature`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LossConfig, Modality, StudentNeeds, TeacherNeeds
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(LossConfig):
    """Learn a teacher's pooled feature of a modality that both read."""

    kind: Literal["feature"] = "feature"
    teacher: str
    modality: Modality

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's pooled feature."""
        return (TeacherNeeds(self.teacher, pooled=True, modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The modality."""
        return StudentNeeds(modalities=(self.modality,))


class Loss(base.Loss):
    """Rows: the student and the teacher both read the modality there."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        modality = config.modality
        width = setting.student.pooled[modality]
        self.projection = nn.Linear(width, setting.teachers[config.teacher].pooled[modality])

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean squared error per element."""
        modality, teacher = self.config.modality, teachers[self.config.teacher]
        rows = student.has[modality] & teacher.has[modality]
        projected = self.projection(full_precision(student.pooled[modality][rows]))
        return feature(projected, teacher.pooled[modality][rows])


def feature(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(projected) - full_precision(teacher.detach())).square())
