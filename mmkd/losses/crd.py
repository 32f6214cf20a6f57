"""`crd`: contrastive representation distillation with a memory (Tian, Krishnan and Isola, ICLR 2020, 1910.10699).

A critic h says how likely a student's and a teacher's feature are of one example. With s, t the two features, linearly
projected and of length 1, N negatives and M features that they are drawn from,
h(t, s) = exp(<t, s> / T) / (exp(<t, s> / T) + N / M), and the loss of example i is
-log h(t_i, s_i) - sum over its N negatives of log(1 - h(t_j, s_i)), mean over examples (eq. 18, 19).

The paper's memory holds a projected feature of every training example, drawn nearer by momentum when the example comes
again, and N negatives are drawn from it. Here it is a queue of the last M teacher features, the batch's own among them,
as the teacher gave them: they do not age, for the teacher stays as it is, and the projection is that of this step. All
of them but the example's own, by its row, are negatives, so N / M goes to 1 as the queue fills. Nothing is drawn. The
queue is a buffer, part of the term's state. A training set smaller than the queue is in it more than once.

The authors' code differs from the paper: it divides exp(.) by a constant, M times its mean over the first batch, and
adds the same loss with the roles of student and teacher exchanged. Without the constant the value grows with the
memory: full, it starts near M log 2, so that a `weight` near 1 / M suits it, where the paper's is 0.8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.section import PositiveFloat, PositiveInt
from mmkd.losses import base
from mmkd.losses._contrast import cosines
from mmkd.losses._math import full_precision
from mmkd.losses._pooled import pooled_pair, pooled_rows, pooled_widths
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs


class Config(PooledConfig):
    """Tell each example's teacher feature from those of a memory.

    modality: of the teacher's pooled feature. to: the student's feature; null: that of the same modality.
    temperature: divides all cosines. width: of the space that both features are projected to.
    memory: how many teacher features are kept. Several processes keep a memory each.
    """

    kind: Literal["crd"] = "crd"
    temperature: PositiveFloat = 0.1
    width: PositiveInt = 128
    memory: PositiveInt = 4096


class Loss(base.Loss):
    """Rows: the student's feature and the teacher's modality are there."""

    config: Config
    features: Tensor
    rows: Tensor
    end: Tensor

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build both projections and the empty memory."""
        super().__init__(config, setting)
        own, taught = pooled_widths(config, setting)
        self.student, self.teacher = nn.Linear(own, config.width), nn.Linear(taught, config.width)
        self.register_buffer("features", torch.zeros(config.memory, taught))
        self.register_buffer("rows", torch.full((config.memory,), -1))  # of the examples; -1: nothing there yet
        self.register_buffer("end", torch.zeros((), dtype=torch.long))  # where the next feature goes

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in nats; a row without a negative counts 0. The memory takes the batch in first."""
        own, taught = pooled_pair(self.config, student, teachers)
        rows = batch.rows[pooled_rows(self.config, student, teachers)]
        taught = full_precision(taught.detach())
        self.remember(taught, rows)
        there = self.rows >= 0
        return crd(
            self.student(full_precision(own)),
            self.teacher(taught),
            self.teacher(self.features[there]),
            rows[:, None] == self.rows[there],
            self.config.temperature,
            self.config.memory,
        )

    @torch.no_grad()
    def remember(self, features: Float[Tensor, "R E"], rows: Int[Tensor, " R"]) -> None:
        """Put features in the place of the oldest; of more than the memory holds, the last."""
        features, rows = features[-self.config.memory :], rows[-self.config.memory :]
        places = (self.end + torch.arange(len(rows), device=rows.device)) % self.config.memory
        self.features[places] = features.to(self.features.dtype)
        self.rows[places] = rows
        self.end.add_(len(rows)).remainder_(self.config.memory)


def crd(
    student: Float[Tensor, "R D"],
    teacher: Float[Tensor, "R D"],
    memory: Float[Tensor, "Q D"],
    own: Tensor,
    temperature: float,
    size: int,
) -> Float[Tensor, ""]:
    """The critic's loss, mean over rows. own [R, Q]: features of the memory that are the row's own. size: M."""
    negatives = ~own
    # N / M of each row; without a negative its logarithm is -inf, and h is 1
    log_odds = (negatives.sum(-1, keepdim=True).to(memory.dtype) / size).log()
    matching = cosines(student, teacher).diagonal()[:, None] / temperature - log_odds
    others = (cosines(student, memory) / temperature - log_odds)[negatives]
    total = functional.logsigmoid(matching).sum() + functional.logsigmoid(-others).sum()
    return -total / max(len(student), 1)
