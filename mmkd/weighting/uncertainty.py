"""`uncertainty`: weights from learned task noise (Kendall, Gal and Cipolla 2018, 1705.07115).

The form for classification, with s = log sigma^2 of each task: the sum of exp(-s) L + s / 2. For a constant loss its
optimum is exp(-s) = 1 / (2 L). All tasks take that form, a regression's 1 / 2 included in its own coefficient.
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
    """bound: log-variances stay within -bound and bound, so weights within exp(-bound) and exp(bound).

    By default, no two weights differ by more than a factor of 10. The paper has no bound: a loss that falls towards 0
    has a weight that grows without end.
    """

    kind: Literal["uncertainty"] = "uncertainty"
    bound: PositiveFloat = 1.15


class Weighting(base.Weighting):
    """A log-variance for each task, 0 at the start, so that all weights start at 1."""

    config: Config

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Build the log-variances, in the order of the tasks."""
        super().__init__(config, tasks)
        # One parameter each: an optimizer skips a parameter whose gradient is None, so the log-variance of a task
        # that is absent from a batch stays as it is; a zero gradient would still move it by momentum.
        self.log_variances = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in self.tasks)

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """Gradient of the weighted sum, the log-variances and the rest; the weights are exp(-s)."""
        own = dict(zip(self.tasks, self.log_variances, strict=True))
        self._keep_bounded([own[task] for task in by_task])
        terms = [torch.exp(-own[task]) * loss + own[task] / 2 for task, loss in by_task.items()]
        if rest is not None:
            terms.append(rest)
        if terms:
            torch.stack(terms).sum().backward()
        return {task: float(torch.exp(-own[task].detach())) for task in by_task}

    @torch.no_grad()
    def _keep_bounded(self, log_variances: Sequence[Tensor]) -> None:
        """Bring each log-variance back into its bounds: unlike a clamp in the formula, it can leave the bound again."""
        for log_variance in log_variances:
            log_variance.clamp_(-self.config.bound, self.config.bound)
