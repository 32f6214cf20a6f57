"""`ofa`: layers of the student, brought to the space of logits, learn from a teacher of any architecture (2310.19444).

Hao et al. 2023, "One-for-all: bridge the gap between heterogeneous architectures in knowledge distillation": features
of unlike networks cannot be compared, but what can be predicted from them can. Each chosen layer of the student has an
exit that predicts the task, and is drawn to the teacher's probabilities p with more trust in the label c:
-(1 + p_c)^gamma log q_c - sum over k != c of p_k log q_k, mean over labelled rows, q being the exit's probabilities,
summed over the exits. The student's own logits are the last exit. At gamma = 1 this is the cross-entropy with the
label plus the one with the teacher; above 1, the label counts more where the teacher is sure of it. The exits train
with the student and are no part of it.

The paper's exits have blocks of their own for each architecture before the head; here an exit is the task's head on
the mean over positions. There is no temperature. The authors' code, from memory, raises the other p_k to the power
gamma too, and takes 1 from the label's factor, so that the label alone is left to the supervised term.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig
from mmkd.losses._classes import of_label, taught_labelled_rows
from mmkd.losses._exits import ExitsLoss
from mmkd.losses._exits_config import ExitsConfig
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(ExitsConfig, TaughtLossConfig):
    """Let layers of the student predict a task as a teacher and the labels do.

    gamma: how much more the label counts where the teacher is sure of it; the paper tries 1 to 1.5.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["ofa"] = "ofa"
    gamma: Annotated[float, Field(ge=1)] = 1.0

    @property
    def needs_labels(self) -> bool:
        """The label is what counts more."""
        return True


class Loss(ExitsLoss):
    """Rows: labelled, the student and the teacher both speak; for an exit, the student reads its modality too."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over the exits and the student's own logits of means over rows, in nats."""
        gamma, teacher = self.config.gamma, teachers[self.config.teacher]
        rows = rows_of(self.task.level, batch, student, teacher) & self.task.labelled_rows(batch)
        rows = self.read(student, rows)
        taught, labels = teacher.logits[self.task.name][rows], batch.labels[self.task.name][rows]
        terms = [ofa(logits, taught, labels, gamma) for logits in self.exit_logits(student, rows)]
        terms.append(ofa(*taught_labelled_rows(self.task, batch, student, teacher), gamma))
        return torch.stack(terms).sum()


def ofa(
    student: Float[Tensor, "R K"], teacher: Float[Tensor, "R K"], labels: Int[Tensor, " R"], gamma: float
) -> Float[Tensor, ""]:
    """Target-enhanced cross-entropy in nats, mean over rows; raw logits. No gradient reaches the teacher."""
    log_student, p = full_precision(student).log_softmax(-1), full_precision(teacher.detach()).softmax(-1)
    factors = p.scatter(-1, labels[:, None], (1 + of_label(p, labels))[:, None] ** gamma)
    return -mean_or_zero((factors * log_student).sum(-1))
