"""`mlld`: multi-level logit distillation (Jin, Wang and Lin 2023, CVPR, section 3).

Summed over several temperatures T, with the probabilities as matrices P (teacher) and Q (student) of R rows and K
classes:
  instance T^2 KL(teacher || student), mean over rows;
  batch    ||P P^t - Q Q^t||^2 / R, how alike the rows are;
  classes  ||P^t P - Q^t Q||^2 / K, how the classes go together; ||.||^2 is the sum of the squared entries.
As in the paper the entries of P^t P are sums over rows, so that the class level grows with the square of R, and the
batch level with R. The factor T^2 is the authors' code's. That code also trains on a weak and a strong view of each
image at once, and masks by the teacher's confidence: the views are `augment`'s here, and all rows and classes count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field, Strict
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.section import NonNegativeFloat, PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import taught_rows
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs

Temperatures = Annotated[tuple[PositiveFloat, ...], Strict(False), Field(min_length=1)]


class Config(TaughtLossConfig):
    """Learn a teacher's probabilities row by row, how alike they make rows, and which classes go together.

    temperatures: each adds its own three levels. instance, batch, classes: coefficients of the levels.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["mlld"] = "mlld"
    temperatures: Temperatures = (2.0, 3.0, 4.0, 5.0, 6.0)
    instance: NonNegativeFloat = 1.0
    batch: NonNegativeFloat = 1.0
    classes: NonNegativeFloat = 1.0

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them; of a batch, or of what one process sees of it."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over temperatures and levels."""
        own = self.config
        rows = taught_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return mlld(*rows, own.temperatures, own.instance, own.batch, own.classes)


def mlld(
    student: Float[Tensor, "R K"],
    teacher: Float[Tensor, "R K"],
    temperatures: tuple[float, ...],
    instance: float = 1.0,
    batch: float = 1.0,
    classes: float = 1.0,
) -> Float[Tensor, ""]:
    """Sum over temperatures of the three levels; raw logits. No gradient reaches the teacher."""
    student, teacher = full_precision(student), full_precision(teacher.detach())
    value = student.new_zeros(())
    for temperature in temperatures:
        log_student, log_teacher = ((logits / temperature).log_softmax(-1) for logits in (student, teacher))
        p, q = log_teacher.exp(), log_student.exp()
        value = value + instance * temperature**2 * mean_or_zero(kl_divergence(log_teacher, log_student))
        value = value + batch * (products(p) - products(q)).square().sum() / max(len(p), 1)
        value = value + classes * (products(p.T) - products(q.T)).square().sum() / p.shape[1]
    return value


def products(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N N"]:
    """Inner products of all pairs of rows."""
    return rows @ rows.T
