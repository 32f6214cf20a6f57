"""`pcgrad`: projecting conflicting gradients (Yu et al. 2020, 2001.06782, algorithm 1), by TorchJD.

Each task's gradient loses its component against every other task's that it conflicts with, one after another in
random order; the results are summed. With one or two tasks the order does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torchjd.aggregation import PCGrad

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._torchjd import combine_gradients


class Config(WeightingConfig):
    """seed: of the order of projections, with the number of steps done."""

    kind: Literal["pcgrad"] = "pcgrad"
    seed: Annotated[int, Field(ge=0)] = 0


class Weighting(base.Weighting):
    """Gradients without conflict. State: the number of steps done, so that a resumed run draws as if never stopped."""

    config: Config
    steps: Tensor

    def __init__(self, config: Config, tasks: Sequence[str]) -> None:
        """Start at step 0."""
        super().__init__(config, tasks)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def backward(
        self,
        by_task: Mapping[str, Tensor],
        rest: Tensor | None,
        shared_parameters: Sequence[nn.Parameter],
        representation: Sequence[Tensor],
    ) -> dict[str, float]:
        """The weights are the coefficients of the tasks' own gradients in the sum, at least 1 each."""
        # TorchJD draws the order on the CPU from torch's global generator: its state is lent for the time. torch reads
        # 32 bits of a seed only, so seed and step are mixed into those.
        mixed = np.random.SeedSequence([self.config.seed, int(self.steps)]).generate_state(1)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(mixed[0]))
            weights = combine_gradients(PCGrad(), by_task, rest, shared_parameters)
        self.steps += 1
        return weights
