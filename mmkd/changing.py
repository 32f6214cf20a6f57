"""What of a network may change in a step: the parameters that learn, and the buffers."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


def learned(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that learn, by name."""
    return {name: value for name, value in module.named_parameters() if value.requires_grad}


def changing(module: nn.Module) -> dict[str, Tensor]:
    """The parameters that learn and the buffers, by name."""
    return {**learned(module), **dict(module.named_buffers())}


@torch.no_grad()
def put_back(module: nn.Module, values: Mapping[str, Tensor]) -> None:
    """Give what may change these values. A buffer may have another shape than before.

    Raises KeyError for a name that the module does not have.
    """
    own = learned(module)
    for name, value in values.items():
        if name in own:
            own[name].copy_(value)
        else:
            path, _, leaf = name.rpartition(".")
            owner = module.get_submodule(path)
            before = owner._buffers[leaf]
            assert before is not None  # a buffer that was saved had a value
            owner._buffers[leaf] = value.to(before.device, before.dtype, copy=True)
