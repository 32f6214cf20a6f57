"""`logit_kl`: knowledge distillation (Hinton, Vinyals and Dean 2015, 1503.02531).

T^2 KL(teacher || student) of the probabilities at temperature T, mean over rows. The factor T^2 keeps the size of the
gradient steady when T changes (section 2 of the paper). Public implementations differ: some divide by the number of
classes too, leave out T^2, or use a cross-entropy, which is not 0 where student and teacher agree.

`standardize` is logit standardisation (Sun et al. 2024, 2403.01427): each row of logits is brought to mean 0 and
population standard deviation 1 before T divides it, so that the student need not match the teacher's scale.

Teacher annealing (BAM, Clark et al. 2019, 1907.04829) is this term at T = 1 with a `weight` on a line from 1 to 0,
beside `supervised` with one from 0 to 1: the same gradient as BAM's cross-entropy to a target that moves from the
teacher's probabilities to the label. `experiments/annealed.yaml` has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.schedule import Temperature, value_at
from mmkd.losses import base
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of

SMALLEST_DEVIATION = 1e-3
"""Rows of logits that vary less are not stretched to deviation 1: at equal logits the gradient would be infinite."""


class Config(TaughtLossConfig):
    """Learn the task from a teacher's probabilities.

    temperature: above 1 it shows more of how the teacher ranks the wrong classes; a number or a schedule (annealed to 1
        in 2104.07163).
    standardize: bring each row of logits to mean 0 and deviation 1 first.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["logit_kl"] = "logit_kl"
    temperature: Temperature = 4.0
    standardize: bool = False

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them (a word: both tokenizers kept it)."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        task, teacher = self.config.task, teachers[self.config.teacher]
        rows = rows_of(self.setting.tasks[task].level, batch, student, teacher)
        temperature = value_at(self.config.temperature, self.progress)
        return logit_kl(student.logits[task][rows], teacher.logits[task][rows], temperature, self.config.standardize)


def logit_kl(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], temperature: float, standardize: bool = False
) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) in nats, mean over rows; raw logits. No gradient reaches the teacher."""
    student, teacher = full_precision(student), full_precision(teacher.detach())
    if standardize:
        student, teacher = standardized(student), standardized(teacher)
    log_student = (student / temperature).log_softmax(-1)
    log_teacher = (teacher / temperature).log_softmax(-1)
    return temperature**2 * mean_or_zero(kl_divergence(log_teacher, log_student))


def standardized(logits: Float[Tensor, "R K"]) -> Float[Tensor, "R K"]:
    """Each row less its mean, over its population standard deviation."""
    centred = logits - logits.mean(-1, keepdim=True)
    variance = centred.square().mean(-1, keepdim=True)
    return centred / variance.clamp(min=SMALLEST_DEVIATION**2).sqrt()
