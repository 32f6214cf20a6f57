"""`imtl_l`: impartial multi-task learning, loss balance (Liu et al. 2021, ICLR, section 3.2), with base e.

The sum of exp(s) L - s, s a learned number of each task: at its optimum exp(s) = 1 / L, and all weighted losses are 1.
`uncertainty` with s for -s is one half of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.config.section import PositiveFloat
from mmkd.weighting import base


class Config(WeightingConfig):
    """bound: each s stays within -bound and bound, so weights within exp(-bound) and exp(bound). The paper has none."""

    kind: Literal["imtl_l"] = "imtl_l"
    bound: PositiveFloat = 5.0


class Weighting(base.Weighting):
    """A logarithm of a weight for each task, 0 at the start, so that all weights start at 1."""

    config: Config

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Build the log-weights, in the order of the tasks."""
        super().__init__(config, tasks)
        # One parameter each, as an optimizer leaves one alone that has no gradient: so an absent task's stays.
        self.log_weights = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in self.tasks)

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """Gradient of the weighted sum, the log-weights and the rest; the weights are exp(s)."""
        own = dict(zip(self.tasks, self.log_weights, strict=True))
        with torch.no_grad():  # not a clamp in the formula, whose gradient would be 0 beyond the bound for good
            for task in by_task:
                own[task].clamp_(-self.config.bound, self.config.bound)
        terms = [torch.exp(own[task]) * loss - own[task] for task, loss in by_task.items()]
        if rest is not None:
            terms.append(rest)
        if terms:
            torch.stack(terms).sum().backward()
        if not by_task:
            return {}
        weights = torch.stack([own[task].detach() for task in by_task]).exp()
        return dict(zip(by_task, weights.tolist(), strict=True))
