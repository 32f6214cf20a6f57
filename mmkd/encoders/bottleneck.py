"""Adapters in a network: a bottleneck with a residual after a layer (Houlsby and others, 1902.00751).

h' = h + W2 gelu(W1 h + b1) + b2, with W2 = 0 and b2 = 0 at the start, so that the network begins as it was; the paper
starts W1 and W2 near 0. It stands after each target, inside the block's own residual. The paper trains the layer norms
as well; here they stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn


class Bottleneck(nn.Module):
    """What is added to a layer's output: [..., D] to [..., D], through `width` features."""

    def __init__(self, size: int, width: int) -> None:
        """size: D."""
        super().__init__()
        self.down, self.up = nn.Linear(size, width), nn.Linear(width, size)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, values: Tensor) -> Tensor:
        """W2 gelu(W1 h + b1) + b2, without the residual."""
        added: Tensor = self.up(nn.functional.gelu(self.down(values)))
        return added


def add_bottlenecks(network: nn.Module, targets: Sequence[str], width: int) -> None:
    """Give each layer whose name ends with a target an adapter, in place; the adapters alone learn.

    Raises ValueError for a target that is no linear layer.
    """
    ends = tuple(f".{target}" for target in targets)
    found = [(name, layer) for name, layer in network.named_modules() if f".{name}".endswith(ends)]
    network.requires_grad_(False)
    for name, layer in found:
        if not isinstance(layer, nn.Linear):
            raise ValueError(f"targets: `{name}` is a {type(layer).__name__}; expected linear layers")
        layer.add_module("adapter", Bottleneck(layer.out_features, width))
        layer.register_forward_hook(_with_adapter)


def _with_adapter(layer: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A plain function, which finds the adapter in the layer: a copy of the network has its own."""
    return output + layer.get_submodule("adapter")(output)
