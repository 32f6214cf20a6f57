"""`self_distil`: the student's last logits teach exits on its lower layers (Zhang et al. 2019, 1905.08094), a control.

"Be your own teacher": a network with a classifier after each of its sections. Each shallower one learns from the labels
and from the deepest, and so do the layers below it: (1 - alpha) CE(q_i, label) + alpha T^2 KL(q_C || q_i), mean over
labelled rows, summed over the exits i, with q_C the probabilities of the student's own logits, as they are: no gradient
goes through them. There is no teacher: what this gains, a teacher has to beat.

What is taken of the paper is this canonical form, labels and deepest logits. Its third part, the squared distance of
each section's features to the deepest's, is left out (its coefficient in the authors' code is 0.03); the deepest
classifier's own loss is the experiment's `supervised`. In the paper an exit has convolutions of its own before the
head; here it is the task's head on the mean over positions. alpha 0.3 and T 3 are those of the authors' code, from
memory, which has no T^2. With T^2, as in `logit_kl`, the gradient stays of one size when T changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm
from mmkd.config.section import Fraction, PositiveFloat
from mmkd.losses._exits import ExitsLoss
from mmkd.losses._exits_config import ExitsConfig
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(ExitsConfig):
    """Let lower layers of the student predict a task, and learn it from its labels and from the student's own logits.

    alpha: share of the student's own logits, beside the labels. temperature: of the logits and the exits.
    """

    logits: ClassVar[LogitsForm | None] = "classes"
    trains_head: ClassVar[bool] = False

    kind: Literal["self_distil"] = "self_distil"
    alpha: Fraction = 0.3
    temperature: PositiveFloat = 3.0


class Loss(ExitsLoss):
    """Rows: labelled, and the student reads the layers' modality there."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over the exits of means over rows, in nats."""
        alpha, task = self.config.alpha, self.task
        rows = self.read(student, rows_of(task.level, batch, student) & task.labelled_rows(batch))
        deepest, labels = student.logits[task.name][rows], batch.labels[task.name][rows]
        terms = [
            (1 - alpha) * task.loss(logits, labels) + alpha * self_distil(logits, deepest, self.config.temperature)
            for logits in self.exit_logits(student, rows)
        ]
        return torch.stack(terms).sum()


def self_distil(shallow: Float[Tensor, "R K"], deepest: Float[Tensor, "R K"], temperature: float) -> Float[Tensor, ""]:
    """T^2 KL(deepest || shallow) in nats, mean over rows; raw logits. No gradient reaches the deepest."""
    log_p, log_q = ((full_precision(logits) / temperature).log_softmax(-1) for logits in (deepest.detach(), shallow))
    return temperature**2 * mean_or_zero(kl_divergence(log_p, log_q))
