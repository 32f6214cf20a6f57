"""`ctkd`: distillation at a temperature that is learned against the student (Li et al. 2023, Curriculum Temperature for
Knowledge Distillation, 2211.16231).

T^2 KL(teacher || student) at temperature T, mean over rows, with T = lowest + span sigmoid(raw), where `raw` is the
term's one parameter: the paper's global temperature. The gradient that reaches T is reversed and multiplied by
`strength`: the optimizer that lowers the value through the student raises it through T, which so moves to where the
student is furthest from the teacher. The paper's other form, a temperature for each row from a small network, is not
here.

The paper's curriculum lets the strength rise with the epochs n, from 0 to 1 over the first L = 10 of them as
(1 + cos(pi (1 + min(n, L) / L))) / 2, and leaves it at 1: `strength: {kind: cosine, from: 0, to: 1, until: 0.04}` where
these are a share of 0.04 of the run. raw starts at 1 as in the authors' code, where T is 15.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.config.schedule import Coefficient, value_at
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import taught_rows
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs

START = 1.0
"""Of the parameter `raw`."""


class Config(TaughtLossConfig):
    """Learn the task from a teacher's probabilities, at the temperature where they are hardest to learn.

    lowest, span: the temperature stays between lowest and lowest + span. strength: of the reversed gradient, by which
    the temperature learns, a number or a schedule; 0 leaves it where it is.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["ctkd"] = "ctkd"
    lowest: PositiveFloat = 1.0
    span: PositiveFloat = 20.0
    strength: Coefficient = 1.0

    @property
    def zero_where_equal(self) -> bool:
        """Equal logits give 0."""
        return True


class Loss(base.Loss):
    """Rows: the student and the teacher both speak on them."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Start at the authors' temperature."""
        super().__init__(config, setting)
        self.raw = nn.Parameter(torch.tensor(START))

    @property
    def temperature(self) -> Tensor:
        """T, a scalar, between `lowest` and `lowest + span`."""
        return self.config.lowest + self.config.span * full_precision(self.raw).sigmoid()

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats."""
        own = self.config
        rows = taught_rows(self.setting.tasks[own.task], batch, student, teachers[own.teacher])
        return ctkd(*rows, reversed_gradient(self.temperature, value_at(own.strength, self.progress)))


def ctkd(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], temperature: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) in nats, mean over rows; raw logits. A gradient reaches T, and none the teacher."""
    log_student = (full_precision(student) / temperature).log_softmax(-1)
    log_teacher = (full_precision(teacher.detach()) / temperature).log_softmax(-1)
    return temperature.square() * mean_or_zero(kl_divergence(log_teacher, log_student))


def reversed_gradient(value: Float[Tensor, ""], strength: float) -> Float[Tensor, ""]:
    """The same number, with -strength times its gradient."""
    return value.detach() + strength * (value.detach() - value)
