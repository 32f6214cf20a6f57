"""The student's weights averaged over the steps: what is evaluated, selected and kept in their place.

`ema`: after each step a = decay a + (1 - decay) w, from the first step's weights on. `mean`: the equal mean of the
weights after each step from a share of the run on (stochastic weight averaging, 1803.05407; there after epochs, with a
learning rate of its own). Running statistics of batch norms are averaged as the weights are, where the paper reads the
data once more.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mmkd.changing import changing, put_back
from mmkd.config.experiment import Average


class Averaged:
    """The average of a network, and the network itself before there is any. steps: how many it is the average of."""

    def __init__(self, network: nn.Module, config: Average | None) -> None:
        """config: None averages nothing."""
        self._network, self._config = network, config
        self._average: nn.Module | None = None
        self.steps = 0

    @torch.no_grad()
    def update(self, progress: float) -> None:
        """Take in the weights after a step. progress: share of the run's steps that are done."""
        config = self._config
        if config is None or progress < config.start:
            return
        if self._average is None:
            self._average = copy.deepcopy(self._network)
        self.steps += 1
        share = 1 / self.steps if config.kind == "mean" else 1 - config.decay
        for old, new in zip(changing(self._average).values(), changing(self._network).values(), strict=True):
            if old.is_floating_point():
                old.lerp_(new, share)
            else:
                old.copy_(new)  # how many batches a batch norm has seen

    def take_up(self, values: Mapping[str, Tensor], steps: int) -> None:
        """Go on from an average of so many steps. values: what changes in it, by name."""
        self._average, self.steps = copy.deepcopy(self._network), steps
        put_back(self._average, values)

    @property
    def started(self) -> bool:
        """Whether there is an average yet."""
        return self._average is not None

    @property
    def network(self) -> nn.Module:
        """What is evaluated and kept."""
        return self._network if self._average is None else self._average
