"""`gated_kl`: several teachers, weighed row by row by a gate that learns with the student.

A mixture of experts (Jacobs, Jordan, Nowlan and Hinton 1991, "Adaptive mixtures of local experts") whose experts are
the frozen teachers. The gate is linear: w = softmax(G x) over the M teachers that speak on the row, with x the
student's feature there: the fused feature, or for a task over words its last layer. With p_m the probabilities of
teacher m, at temperature T where T stands,

    T^2 KL(sum_m w_m p_m(T) || student(T))  -  log sum_m w_m p_m[y]  +  balance KL(prior || mean w),

the means over all rows, over the labelled ones, and over rows inside the last divergence.

By the first part the student learns, and the gate does not: it would choose the teacher nearest to the student. The
gate learns from the second, how well the mixture knows the label, and so needs labels; rows without one are weighed by
what it learned. x has no gradient, so that the gate leaves the student's features to the tasks. It learns on training
rows, where teachers that were fine-tuned on them look better than they are.

A gate may collapse: one teacher takes all, and the others' weights get no gradient. Against it stands the third part:
`prior` is the mean over rows of the weights as configured, over the teachers that speak. It is 0 where the gate spreads
its mean weight like that, whatever it does by row, and has no bound where it gives a teacher up altogether. The gate
starts at these weights, on all rows alike. `balance` and this form of the guard are ours.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from mmkd.config.plugin_base import LogitsForm, SeveralTaughtLossConfig
from mmkd.config.schedule import Temperature, value_at
from mmkd.config.section import NonNegativeFloat
from mmkd.losses import base
from mmkd.losses._classes import of_label
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(SeveralTaughtLossConfig):
    """Learn the task from a mixture of teachers, whose weights are learned for each row.

    teachers: name -> weight that the gate starts from. temperature: of what the student learns, a number or a schedule.
    balance: coefficient of the guard against a gate that gives a teacher up.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["gated_kl"] = "gated_kl"
    temperature: Temperature = 4.0
    balance: NonNegativeFloat = 0.1


class Loss(base.Loss):
    """Rows: the student speaks on them, and one teacher or more."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the gate, which starts at the configured weights."""
        super().__init__(config, setting)
        shape = setting.student
        if setting.tasks[config.task].level == "example":
            width = shape.fused
        else:
            width = shape.hidden["text"][shape.depth["text"] - 1]
        assert width is not None  # a student always has a fused feature
        self.gate = nn.Linear(width, len(config.teachers))
        weights = torch.tensor(list(config.teachers.values()))
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.copy_((weights / weights.sum()).log())

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum of the three parts, in nats."""
        own, task = self.config, self.setting.tasks[self.config.task]
        speaks = torch.stack([rows_of(task.level, batch, student, teachers[name]) for name in own.teachers])
        rows = speaks.any(0)
        labelled = task.labelled_rows(batch)[rows]
        if task.level == "example":
            feature = student.fused
        else:
            feature = student.hidden["text"][self.setting.student.depth["text"] - 1].values
        assert feature is not None  # a student always has a fused feature
        logits = torch.stack([teachers[name].logits[task.name][rows] for name in own.teachers])
        speaks, weights = speaks[:, rows], full_precision(torch.tensor(list(own.teachers.values())))
        logits = full_precision(logits.detach()).masked_fill(~speaks[..., None], 0.0)
        log_weights = gate_weights(self.gate(full_precision(feature[rows].detach())).T, speaks)
        temperature = value_at(own.temperature, self.progress)
        taught = gated_kl(student.logits[task.name][rows], logits, log_weights, temperature)
        right = mixture(logits[:, labelled], log_weights[:, labelled])
        known = mean_or_zero(-of_label(right, batch.labels[task.name][rows][labelled]))
        return taught + known + own.balance * imbalance(log_weights, speaks, weights.to(log_weights))


def gate_weights(scores: Float[Tensor, "M R"], speaks: Bool[Tensor, "M R"]) -> Float[Tensor, "M R"]:
    """Logarithms of weights that sum to 1 over the teachers that speak, one or more on each row; -inf for others."""
    return scores.masked_fill(~speaks, -torch.inf).log_softmax(0)


def mixture(logits: Float[Tensor, "M R K"], log_weights: Float[Tensor, "M R"]) -> Float[Tensor, "R K"]:
    """Log-probabilities of the weighted mean of the teachers' probabilities."""
    return torch.logsumexp(log_weights[..., None] + logits.log_softmax(-1), 0)


def gated_kl(
    student: Float[Tensor, "R K"], logits: Float[Tensor, "M R K"], log_weights: Float[Tensor, "M R"], temperature: float
) -> Float[Tensor, ""]:
    """T^2 KL(mixture || student) in nats, mean over rows; raw logits. Only the student has a gradient."""
    log_mixture = mixture(logits.detach() / temperature, log_weights.detach())
    log_student = (full_precision(student) / temperature).log_softmax(-1)
    return temperature**2 * mean_or_zero(kl_divergence(log_mixture, log_student))


def imbalance(
    log_weights: Float[Tensor, "M R"], speaks: Bool[Tensor, "M R"], weights: Float[Tensor, " M"]
) -> Float[Tensor, ""]:
    """KL(prior || mean weights) in nats, over rows; 0 without a row. weights: of the teachers, before any is silent."""
    heard = speaks.any(1)
    own = weights[:, None] * speaks
    prior = (own / own.sum(0)).mean(1)[heard]
    log_mean = torch.logsumexp(log_weights[heard], 1) - math.log(max(speaks.shape[1], 1))
    return (prior * (prior.log() - log_mean)).sum()
