"""A user's weighting with a planted mistake; with the fault `none`, a plain sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from lab import faulty_teacher
from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base


class Config(WeightingConfig):
    kind: Literal["lab.faulty_weighting"] = "lab.faulty_weighting"
    fault: str = "none"


class Weighting(base.Weighting):
    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        fault, losses = self.config.fault, list(by_task.values())
        if fault == "drops a group":
            losses = losses[:-1]
        if rest is not None and fault != "drops the rest":
            losses.append(2 * rest if fault == "weighs the rest" else rest)
        total = torch.stack(losses).sum()
        if fault == "divides by zero":
            total = total / (total.detach() - total.detach())
        total.backward()
        with torch.no_grad():
            if fault == "steps":
                for parameter in shared_parameters:
                    parameter -= 0.1
            if fault == "steps into the teacher":
                for teacher in faulty_teacher.MADE:
                    teacher.vectors.weight += 0.1
        weights = dict.fromkeys(by_task, 1.0)
        if fault == "forgets a weight":
            weights.popitem()
        return weights
