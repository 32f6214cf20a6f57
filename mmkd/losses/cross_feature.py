"""`cross_feature`: a teacher of one modality teaches the student's feature of the other one, or the fused feature.

The student's pooled feature, linearly projected, is drawn to the teacher's pooled feature. Squared distance between
features of paired modalities is modality hallucination's (Hoffman, Gupta and Darrell, CVPR 2016) and, within each
modality, the feature distillation of CLIP-KD (2307.12732); the cosine distance, which leaves the teacher's scale
aside, is the feature term of DistilBERT (1910.01108).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LossConfig, Modality, StudentNeeds, TeacherNeeds
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.types import Batch, Outputs

Distance = Literal["cosine", "mse"]


class Config(LossConfig):
    """Learn a teacher's pooled feature from another modality than the teacher's.

    to: the student's feature that is taught: that of the other modality, or `fused`.
    distance: `cosine` is 1 - cosine, `mse` the mean squared error per element.
    """

    kind: Literal["cross_feature"] = "cross_feature"
    teacher: str
    to: Literal["text", "image", "fused"]
    distance: Distance = "cosine"

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's pooled feature; a modality's feature is taught by a teacher of the other one."""
        other: dict[str, Modality | None] = {"text": "image", "image": "text", "fused": None}
        return (TeacherNeeds(self.teacher, pooled=True, modality=other[self.to]),)

    def student_needs(self) -> StudentNeeds:
        """The modality that is taught."""
        return StudentNeeds() if self.to == "fused" else StudentNeeds(modalities=(self.to,))


class Loss(base.Loss):
    """Rows: the teacher's modality is there, and so is the student's (for `fused`: any that the student reads)."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection. Raises ValueError for a teacher that is not of one modality, or not of the other."""
        super().__init__(config, setting)
        pooled = setting.teachers[config.teacher].pooled
        if len(pooled) != 1 or config.to in pooled:
            raise ValueError(
                f"cross_feature: the teacher {config.teacher} has features of {sorted(pooled)}; expected one modality, "
                f"and another than `to: {config.to}`"
            )
        (self.modality,) = pooled
        width = setting.student.fused if config.to == "fused" else setting.student.pooled[config.to]
        assert width is not None  # a student always has a fused feature
        self.projection = nn.Linear(width, pooled[self.modality])

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows."""
        teacher, to = teachers[self.config.teacher], self.config.to
        feature = student.fused if to == "fused" else student.pooled[to]
        assert feature is not None
        rows = teacher.has[self.modality] & (student.speaks if to == "fused" else student.has[to])
        projected = self.projection(full_precision(feature[rows]))
        return cross_feature(projected, teacher.pooled[self.modality][rows], self.config.distance)


def cross_feature(
    projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"], distance: Distance
) -> Float[Tensor, ""]:
    """Mean over rows of 1 - cosine, or mean squared error per element. No gradient reaches the teacher."""
    projected, teacher = full_precision(projected), full_precision(teacher.detach())
    if distance == "mse":
        return mean_or_zero((projected - teacher).square())
    return mean_or_zero(1 - (unit(projected) * unit(teacher)).sum(-1))
