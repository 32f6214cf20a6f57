"""`masked_feature`: the student's feature of an input with parts hidden regresses the teacher's of the whole input.

The masked feature distillation of CLIP-KD (Yang et al. 2024, 2307.12732, section 3.2): patches of the image are hidden
from the student alone, and the squared distance of its feature to the teacher's whole one is learned, so that it must
say from the rest what was hidden. The teacher sees nothing hidden, and its cache serves. There only images are hidden,
and the texts' features are compared as `feature` does; hiding words is ours. The default ratio, 0.75, is from memory of
the paper. We take the mean per element, as `feature` does, after a linear projection to the teacher's width.

What is hidden, and how, stands in `mmkd/looks.py`. It costs a second pass of the student, which terms with the same
modality, ratio and patch share.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from mmkd.config.looks import Look
from mmkd.config.plugin_base import LossConfig, Modality, StudentNeeds, TeacherNeeds
from mmkd.config.section import PositiveInt
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(LossConfig):
    """Learn a teacher's pooled feature of a modality from an input that is partly hidden from the student.

    masked: the share of an image's patches, or of a text's words, that is hidden. patch: side of a patch, in pixels of
    the student's images; of no meaning for text.
    """

    kind: Literal["masked_feature"] = "masked_feature"
    teacher: str
    modality: Modality
    masked: Annotated[float, Field(gt=0, lt=1)] = 0.75
    patch: PositiveInt = 16

    @property
    def look(self) -> Look:
        """How the student has to look."""
        return Look(image=self.masked, patch=self.patch) if self.modality == "image" else Look(text=self.masked)

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's pooled feature."""
        return (TeacherNeeds(self.teacher, pooled=True, modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The modality, and the look."""
        return StudentNeeds(modalities=(self.modality,), looks=(self.look,))


class Loss(base.Loss):
    """Rows: the student and the teacher both read the modality there."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        width = setting.student.pooled[config.modality]
        self.projection = nn.Linear(width, setting.teachers[config.teacher].pooled[config.modality])

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean squared error per element."""
        modality, teacher = self.config.modality, teachers[self.config.teacher]
        looked = student.looks[self.config.look]
        rows = looked.has[modality] & teacher.has[modality]
        projected = self.projection(full_precision(looked.pooled[modality][rows]))
        return masked_feature(projected, teacher.pooled[modality][rows])


def masked_feature(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(projected) - full_precision(teacher.detach())).square())
