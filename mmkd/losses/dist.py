"""`dist`: distillation from a stronger teacher (Huang, You, Wang, Qian and Xu 2022, 2205.10536).

beta inter + gamma intra, of the probabilities at temperature T as a matrix of rows and classes. inter: 1 less Pearson's
correlation of the student's and the teacher's row, mean over rows; intra: the same of the columns, mean over classes.
A correlation is 1 also where the student's probabilities are the teacher's scaled and moved, so that a student that
cannot match a strong teacher may still agree with it.

The authors' code multiplies by T^2, the paper's equations do not, and neither do we: the correlation and its gradient
hardly change with a high T. It also adds 1e-8 to the product of the lengths, by which the columns of the classes that a
sure teacher gives to no row of the batch cost something where nothing is left to learn. Here 1 less the correlation is
half the squared distance of the two, centred and scaled to length 1, which is the same number; what varies less, in
root sum of squares, than `_math.SMALLEST_NORM` stays shorter than 1, so that the gradient is finite, and what is equal
costs 0. intra asks for two rows; fewer have none, and it is 0 there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import NonNegativeFloat, PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import taught_rows
from mmkd.losses._math import full_precision, mean_or_zero, unit
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig):
    """Learn how a teacher ranks the classes of a row, and the rows of the batch by a class.

    beta: of the classes of a row. gamma: of the rows by a class. temperature: of the probabilities.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["dist"] = "dist"
    beta: NonNegativeFloat = 2.0
    gamma: NonNegativeFloat = 2.0
    temperature: PositiveFloat = 1.0

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them; of a batch, or of what one process sees of it."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Between 0 and 2 (beta + gamma)."""
        own = self.config
        rows = taught_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return dist(*rows, own.beta, own.gamma, own.temperature)


def dist(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], beta: float, gamma: float, temperature: float
) -> Float[Tensor, ""]:
    """Beta inter + gamma intra; raw logits. No gradient reaches the teacher. One row: beta inter alone."""
    student = (full_precision(student) / temperature).softmax(-1)
    teacher = (full_precision(teacher.detach()) / temperature).softmax(-1)
    inter = beta * mean_or_zero(uncorrelated(student, teacher))
    if len(student) < 2:
        return inter
    return inter + gamma * mean_or_zero(uncorrelated(student.T, teacher.T))


def uncorrelated(a: Float[Tensor, "N D"], b: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """1 less Pearson's correlation of each row of a with that of b, from 0 to 2."""
    return (unit(a - a.mean(-1, keepdim=True)) - unit(b - b.mean(-1, keepdim=True))).square().sum(-1) / 2
