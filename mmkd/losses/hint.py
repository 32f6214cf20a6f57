"""`hint`: a hidden layer of the student, linearly projected, regresses a teacher's (FitNets, 1412.6550, eq. 3).

The paper takes half the squared distance; we take the mean squared error per element, so that the term's size does
not grow with the teacher's width or the number of positions. The projection takes the place of the paper's regressor.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.plugin_base import LossConfig, Modality, StudentNeeds, TeacherNeeds
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Hidden, Outputs

Layer = Annotated[int, Field(ge=0)]


class Config(LossConfig):
    """Learn a teacher's hidden features, position by position.

    layer: the teacher's, counted from 0. student_layer: the student's; null is its last.
    """

    kind: Literal["hint"] = "hint"
    teacher: str
    layer: Layer
    modality: Modality
    student_layer: Layer | None = None

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's layer."""
        return (TeacherNeeds(self.teacher, layers=(self.layer,), modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The student's layer."""
        return StudentNeeds(modalities=(self.modality,), layers=((self.modality, self.student_layer),))


class Loss(base.Loss):
    """Positions: words that both tokenizers kept; for images, the teacher's grid of positions (no class token).

    Where the grids differ, the student's is brought to the teacher's by adaptive average pooling: the mean over the
    student's cells that a teacher's cell covers.
    """

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the projection from the student's width to the teacher's."""
        super().__init__(config, setting)
        last = setting.student.depth[config.modality] - 1
        self.student_layer = last if config.student_layer is None else config.student_layer
        width = setting.student.hidden[config.modality][self.student_layer]
        self.projection = nn.Linear(width, setting.teachers[config.teacher].hidden[config.modality][config.layer])

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean squared error per element. Raises ValueError when positions differ in number and have no grid."""
        modality, teacher = self.config.modality, teachers[self.config.teacher]
        target = teacher.hidden[modality][self.config.layer]
        own = aligned(student.hidden[modality][self.student_layer], target)
        examples = student.has[modality] & teacher.has[modality]
        keep = own.mask & target.mask & examples[:, None]
        return hint(self.projection(full_precision(own.values[keep])), target.values[keep])


def hint(projected: Float[Tensor, "R D"], teacher: Float[Tensor, "R D"]) -> Float[Tensor, ""]:
    """Mean squared error per element over positions. No gradient reaches the teacher."""
    return mean_or_zero((full_precision(projected) - full_precision(teacher.detach())).square())


def aligned(student: Hidden, teacher: Hidden) -> Hidden:
    """The student's positions, resampled to the teacher's grid where the grids differ.

    Raises ValueError when positions differ in number and have no grid.
    """
    if student.grid == teacher.grid and student.mask.shape == teacher.mask.shape:
        return student
    if student.grid is None or teacher.grid is None:
        raise ValueError(
            f"hint: the student has {student.mask.shape[1]} positions, the teacher {teacher.mask.shape[1]}; expected "
            "as many, or positions on a grid, which can be resampled: take another layer"
        )
    batch, _, width = student.values.shape
    grid = full_precision(student.values).transpose(1, 2).reshape(batch, width, *student.grid)
    values = functional.adaptive_avg_pool2d(grid, teacher.grid).flatten(2).transpose(1, 2)
    complete = student.mask.all(1, keepdim=True)  # a mean over cells that are not there says nothing
    return Hidden(values, complete.expand(-1, values.shape[1]), teacher.grid)
