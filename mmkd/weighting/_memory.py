"""What a method keeps of every task's gradient from step to step: as many numbers as shared parameters, per task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class GradientMemory(nn.Module):
    """A buffer [tasks, parameters], 0 at the start; how wide it is, the first step or a loaded state says."""

    values: Tensor

    def __init__(self, tasks: int) -> None:
        """tasks: how many there are."""
        super().__init__()
        self.register_buffer("values", torch.zeros(tasks, 0))
        self.register_load_state_dict_pre_hook(_take_shape)

    def rows(self, tasks: list[int], gradients: Tensor) -> Tensor:
        """What is kept of these tasks. gradients: says the width, dtype and device where nothing is kept yet."""
        if self.values.shape[1] == 0:
            self.values = gradients.new_zeros(len(self.values), gradients.shape[1])
        return self.values[tasks]

    def keep(self, tasks: list[int], rows: Tensor) -> None:
        """Replace what is kept of these tasks."""
        self.values[tasks] = rows


def _take_shape(module: GradientMemory, state: Mapping[str, Tensor], prefix: str, *_: object) -> None:
    found = state.get(f"{prefix}values")
    if found is not None:
        assert isinstance(module, GradientMemory)  # which registers this
        module.values = torch.zeros_like(found, device=module.values.device)
