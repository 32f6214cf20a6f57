"""`graddrop`: gradient sign dropout (Chen et al. 2020, 2010.06808, algorithm 1, lines 10 to 15).

Number by number, the gradients' positive or their negative parts are kept, at random: with the purity
P = (1 + sum_i g_i / sum_i |g_i|) / 2, the positive ones with probability P, else the negative ones. The update is the
sum of what is kept. The paper applies it to the gradients at a layer between the encoder and the heads, summed over the
batch with the layer's signs; this, as TorchJD, to those at the shared parameters, so that no path round such a layer
is missed.

The update is no weighted sum of gradients: reported is the share of each gradient's square that was kept, 1 for a
gradient of 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmkd.config.plugin_base import WeightingConfig
from mmkd.weighting import base
from mmkd.weighting._draws import generator
from mmkd.weighting._torchjd import ByMatrix, combine_gradients


class Config(WeightingConfig):
    """seed: of what is kept, with the number of steps done."""

    kind: Literal["graddrop"] = "graddrop"
    seed: Annotated[int, Field(ge=0)] = 0


class Weighting(base.Weighting):
    """Gradients of one sign. State: the number of steps done."""

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
        """What is reported is the share of each gradient's square that was kept."""
        weights = combine_gradients(ByMatrix(self._keep), by_task, rest, shared_parameters)
        self.steps += 1
        return weights

    def _keep(self, gradients: Tensor) -> tuple[Tensor, Tensor]:
        drawn = torch.rand(
            gradients.shape[1],
            generator=generator(self.config.seed, int(self.steps), gradients.device),
            device=gradients.device,
        )
        kept = gradients * one_sign(gradients, drawn)
        whole = gradients.square().sum(1)
        shares = kept.square().sum(1) / whole.where(whole > 0, 1)
        return kept.sum(0), shares.where(whole > 0, 1)


def one_sign(gradients: Tensor, drawn: Tensor) -> Tensor:
    """Which numbers are kept, [M, N]: those of the sign that is kept at each place. drawn: in [0, 1), [N]."""
    sizes = gradients.abs().sum(0)
    purity = (1 + gradients.sum(0) / sizes.where(sizes > 0, 1)) / 2
    return torch.where(drawn < purity, gradients > 0, gradients < 0)
