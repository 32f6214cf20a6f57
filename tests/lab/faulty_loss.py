"""A user's term with a planted mistake; with the fault `none`, a distillation that is right."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from mmkd.config.plugin_base import TaughtLossConfig
from mmkd.losses import base
from mmkd.types import Batch, Outputs, rows_of


class Config(TaughtLossConfig):
    kind: Literal["lab.faulty_loss"] = "lab.faulty_loss"
    fault: str = "none"

    @property
    def zero_where_equal(self) -> bool:
        return self.fault in ("none", "claims too much")


class Loss(base.Loss):
    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        fault, task, said = self.config.fault, self.setting.tasks[self.config.task], teachers[self.config.teacher]
        rows = rows_of(task.level, batch, student, said)
        logits, taught = student.logits[task.name], said.logits[task.name]
        each = functional.kl_div(
            logits.log_softmax(-1),
            (taught if fault == "into the teacher" else taught.detach()).softmax(-1),
            reduction="none",
        ).sum(-1)
        if fault == "detached":
            each = each.detach().requires_grad_()
        if fault == "always the same":
            each = each * 0
        if fault == "reads labels of unlabelled rows":
            labels = batch.labels[task.name].clamp(min=0)
            each = each + functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none").view_as(
                each
            )
        if fault == "NaN on a row":
            alone = ~batch.has_image & batch.has_text
            each = each + torch.where(alone, -1.0, 1.0).log()[(..., *[None] * (each.ndim - 1))]
        if fault == "draws":
            each = functional.dropout(each, 0.5)
        if fault == "draws unseeded":
            each = each * random.random()
        if fault == "by place":
            each = each * torch.linspace(0.5, 1.5, len(each))[(..., *[None] * (each.ndim - 1))]
        if fault == "claims too much":
            p = taught.detach().softmax(-1)
            each = -(p * logits.log_softmax(-1)).sum(-1)
        if fault == "a vector":
            return each[rows]
        if fault == "sums over the padding":
            return each.mean()
        if fault == "divides by the padding":
            return each[rows].sum() / rows.numel()
        return each[rows].sum() / max(1, int(rows.sum()))
