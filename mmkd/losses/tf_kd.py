"""`tf_kd`: teacher-free distillation, a control (Yuan et al. 2020, 1909.11723, Tf-KD_reg, eq. 8 and 9).

T^2 KL(p_T || q_T), mean over labelled rows: a virtual teacher p gives the label the probability `correct` and each of
the other K - 1 classes an equal share of the rest; p_T, proportional to p_k^(1/T), is p at temperature T, and q_T the
student at temperature T. The paper mixes it with the loss of the labels as (1 - alpha) and alpha, which are the
coefficients of the two terms here. T^2 as in `logit_kl`, so that the gradient stays of one size when T changes. At
T = 1 it is label smoothing but for a constant; above, it asks for more of the other classes.

The authors' code takes p itself, and not log p, for the logits that T divides, so that p_T is nearly uniform whatever p
says; it does not divide the student's logits by T (its issue 24 asks why); and it takes the mean over classes too, and
a multiplier in its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaskLossConfig
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import labelled_rows
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaskLossConfig):
    """Learn from a teacher that is made up: always right, and never quite sure.

    correct: its probability of the label. temperature: of it and the student; the paper takes 20 and more.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["tf_kd"] = "tf_kd"
    correct: Annotated[float, Field(gt=0, lt=1)] = 0.9
    temperature: PositiveFloat = 20.0


class Loss(base.Loss):
    """Rows: labelled, and the student speaks on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        logits, labels = labelled_rows(self.setting.tasks[self.config.task], batch, student)
        return tf_kd(logits, labels, self.config.correct, self.config.temperature)


def tf_kd(
    student: Float[Tensor, "R K"], labels: Int[Tensor, " R"], correct: float, temperature: float
) -> Float[Tensor, ""]:
    """T^2 KL(virtual teacher || student) in nats, mean over rows; raw logits, K at least 2."""
    student = full_precision(student)
    share = (1 - correct) / (student.shape[-1] - 1)
    teacher = torch.full_like(student, math.log(share)).scatter(-1, labels[:, None], math.log(correct))
    log_teacher, log_student = ((logits / temperature).log_softmax(-1) for logits in (teacher, student))
    return temperature**2 * mean_or_zero(kl_divergence(log_teacher, log_student))
