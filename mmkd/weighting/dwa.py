"""`dwa`: dynamic weight average (Liu, Johns and Davison 2019, 1803.10704, eq. 7).

A task's rate is r_k = L_k(t - 1) / L_k(t - 2), its mean losses in the last two epochs; its weight K softmax(r / T)_k,
over the K tasks of the batch. Until a task has two epochs behind it, r_k = 1, as in the paper; so too after a loss of
0 or less, which has no rate. An epoch in which a task never occurs is none for that task.

Under a launcher each process goes by the losses of its own share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import PositiveFloat
from mmkd.weighting import base
from mmkd.weighting._scalar import rest_alone, values_of, weighted_backward

FASTEST = 1e6
"""Greatest rate: beyond it the softmax is long one of 0 and 1."""


class Config(WeightingConfig):
    """temperature: T; the higher, the more even the weights."""

    kind: Literal["dwa"] = "dwa"
    temperature: PositiveFloat = 2.0


class Weighting(base.Weighting):
    """Weights by how fast losses fall. State: each task's mean losses of its last two epochs, and this epoch's sums."""

    config: Config
    sums: Tensor
    counts: Tensor
    last: Tensor
    before: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start without an epoch: 0 stands for a mean that is not there, and has no rate either way."""
        super().__init__(config, tasks)
        for name in ("sums", "counts", "last", "before"):
            self.register_buffer(name, torch.zeros(len(self.tasks)))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights sum to the number of tasks in the batch."""
        if not by_task:
            return rest_alone(rest)
        present = [self.tasks.index(task) for task in by_task]
        self.sums[present] += values_of(by_task).to(self.sums.dtype)
        self.counts[present] += 1
        before, last = self.before[present], self.last[present]
        known = (before > 0) & (last > 0)
        rates = torch.where(known, (last / before.where(known, 1)).clamp(max=FASTEST), 1)
        return weighted_backward(by_task, len(present) * torch.softmax(rates / self.config.temperature, 0), rest)

    def end_epoch(self) -> None:
        """The epoch's means become the last ones, of tasks that it had."""
        had = self.counts > 0
        self.before.copy_(torch.where(had, self.last, self.before))
        self.last.copy_(torch.where(had, self.sums / self.counts.clamp(min=1), self.last))
        self.sums.zero_()
        self.counts.zero_()
