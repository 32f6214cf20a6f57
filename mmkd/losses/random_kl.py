"""`random_kl`: at each step one of several teachers, drawn by chance, teaches the whole batch.

T^2 KL(teacher || student) of the teacher that was drawn, mean over the rows about which it speaks. Over many steps the
gradient is that of the terms of all, each weighed by its chance, at the cost of one; rows are not smoothed, as they are
by the `mean` of an ensemble. An old baseline for several teachers; no one paper is followed.

It is a loss and no way of an ensemble to join its members: what an ensemble says is evaluated, cached by others'
identity and may be asked for ahead of the step, so it must not depend on chance. The number is drawn from torch's
generator, which the training loop sets from (seed, epoch, step) before the student runs: the same run draws the same
teachers, whatever came before. Only those that speak about a row of the batch are drawn from. Several processes draw
for themselves, each for its share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, SeveralTaughtLossConfig
from mmkd.config.schedule import Temperature, value_at
from mmkd.losses import base
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(SeveralTaughtLossConfig):
    """Learn the task from one teacher's probabilities, another one at each step.

    teachers: name -> weight; their chances are in this ratio. temperature: a number or a schedule.
    """

    logits: ClassVar[LogitsForm | None] = "classes"
    draws: ClassVar[bool] = True

    kind: Literal["random_kl"] = "random_kl"
    temperature: Temperature = 4.0


class Loss(base.Loss):
    """Rows: the student speaks on them, and the teacher that was drawn."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        own, level = self.config, self.setting.tasks[self.config.task].level
        rows = {name: rows_of(level, batch, student, teachers[name]) for name in own.teachers}
        heard = torch.stack([each.any() for each in rows.values()]).tolist()
        chances = [weight * speaks for weight, speaks in zip(own.teachers.values(), heard, strict=True)]
        name = list(own.teachers)[drawn(chances, torch.rand(()).item())]
        logits = teachers[name].logits[own.task][rows[name]]
        return random_kl(student.logits[own.task][rows[name]], logits, value_at(own.temperature, self.progress))


def drawn(chances: Sequence[float], number: float) -> int:
    """Which of these is drawn by a number in [0, 1): each as often as its share of their sum; 0 where all are 0."""
    left = number * sum(chances)
    for place, chance in enumerate(chances):
        if left < chance:
            return place
        left -= chance
    return max((place for place, chance in enumerate(chances) if chance > 0), default=0)  # rounding


def random_kl(student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], temperature: float) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) in nats, mean over rows; raw logits. No gradient reaches the teacher."""
    log_student = (full_precision(student) / temperature).log_softmax(-1)
    log_teacher = (full_precision(teacher.detach()) / temperature).log_softmax(-1)
    return temperature**2 * mean_or_zero(kl_divergence(log_teacher, log_student))
