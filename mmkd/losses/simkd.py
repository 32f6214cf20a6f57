"""`simkd`: the student's feature becomes the teacher's, and the teacher's head reads it (Chen et al., "Knowledge
distillation with the reused teacher classifier", CVPR 2022, 2203.14001).

`student.heads: {risk: {teacher: vit}}` lets the student's head of a task end in the teacher's: a projector, which
learns, then the teacher's head, which stays as it is, in training and ever after. The term is the squared distance of
the projected feature to the feature that the teacher's head reads, the mean per element over rows. Where it is 0, the
student says what the teacher says. The paper trains by this term alone, without labels: leave the task's `supervised`
out, or the labels move the projector too.

The paper's projector is a stack of three convolutions on the last feature map, before it is pooled. Here it stands on
the fused feature, after the student's dropout: a layer norm, then two linear layers with a GELU between, or one linear
layer where `student.fusion` is linear.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import StudentNeeds, TaughtLossConfig, TeacherNeeds
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(TaughtLossConfig):
    """Learn the feature that the teacher's head reads, for a task over examples whose head the student has taken."""

    kind: Literal["simkd"] = "simkd"

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's head, and the pooled feature that it reads."""
        return (TeacherNeeds(self.teacher, heads=(self.task,), pooled=True),)

    def student_needs(self) -> StudentNeeds:
        """The teacher's head."""
        return StudentNeeds(head=(self.task, self.teacher))


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean squared error per element."""
        own, teacher = self.config, teachers[self.config.teacher]
        rows = rows_of("example", batch, student, teacher)
        head = self.setting.heads[own.teacher][own.task]
        return simkd(student.projected[own.task][rows], head.feature(teacher)[rows])


def simkd(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(projected) - full_precision(teacher.detach())).square())
