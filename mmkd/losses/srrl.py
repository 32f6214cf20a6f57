"""`srrl`: the student's feature, put through the teacher's own head (Yang et al., "Knowledge distillation via softmax
regression representation learning", ICLR 2021).

A good feature is one of which the teacher's classifier makes what it makes of the teacher's own. With t the teacher's
feature, s the student's after a projection to its width, and h the teacher's frozen head, the term is

    mean (h(s) - h(t))^2 + features mean (s - t)^2,

the paper's softmax regression and its feature matching, each the mean per element over rows. Of the forms of the first
part that the paper names, the distance of logits is taken, not the divergence of probabilities: it suits heads of every
kind of task. What h(t) is, the teacher has said already. The projection is linear, where the paper's is a convolution
with a batch norm; s is the fused feature, on which the student's own head stands. `features` is 1: the paper has a
coefficient for each part. Values and names of the parts are from memory of the paper, not of its equations' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import TaughtLossConfig, TeacherNeeds
from mmkd.config.section import NonNegativeFloat
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(TaughtLossConfig):
    """Learn a feature of which the teacher's head makes the teacher's logits, for a task over examples.

    features: coefficient of the distance to the teacher's feature beside that of the logits.
    """

    trains_head: ClassVar[bool] = False

    kind: Literal["srrl"] = "srrl"
    features: NonNegativeFloat = 1.0

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's logits, its head, and the pooled feature that the head reads."""
        return (TeacherNeeds(self.teacher, tasks=(self.task,), heads=(self.task,), pooled=True),)


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's fused feature to what the teacher's head reads."""
        super().__init__(config, setting)
        self.taught = setting.heads[config.teacher][config.task]
        assert setting.student.fused is not None  # a student always has a fused feature
        self.projection = nn.Linear(setting.student.fused, self.taught.width)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum of both means, in the squared units of logits and of features."""
        own, teacher = self.config, teachers[self.config.teacher]
        rows = rows_of("example", batch, student, teacher)
        assert student.fused is not None
        projected = self.projection(full_precision(student.fused[rows]))
        feature = self.taught.feature(teacher)[rows]
        return srrl(projected, feature, self.taught(projected), teacher.logits[own.task][rows], own.features)


def srrl(
    projected: Float[Tensor, "R D"],
    feature: Float[Tensor, "R D"],
    logits: Float[Tensor, "R K"],
    teacher: Float[Tensor, "R K"],
    features: float,
) -> Float[Tensor, ""]:
    """Mean squared error per logit, and `features` times that per element of the feature. logits: h(projected).

    No gradient reaches the teacher.
    """
    regression = mean_or_zero((full_precision(logits) - full_precision(teacher.detach())).square())
    matching = mean_or_zero((full_precision(projected) - full_precision(feature.detach())).square())
    return regression + features * matching
