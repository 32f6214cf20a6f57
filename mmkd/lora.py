"""Low-rank adaptation of a network while it learns (LoRA, 2106.09685), through peft.

Each target's weight W becomes W + (alpha / rank) B A, of which B and A alone learn. Afterwards the sum is written into
W, so that the network is an ordinary network again. peft takes seconds to import, so only its users wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mmkd.config.plugin_base import Lora
from mmkd.config.problems import did_you_mean
from mmkd.errors import MmkdError


class LoraError(MmkdError):
    """A low-rank product cannot be added as the config says; the message says where and what there is."""


def add_lora(network: nn.Module, config: Lora, where: str = "finetune.lora") -> None:
    """Add the products to the network, in place, and let them and its `heads` learn, nothing else.

    where: the key of the config.
    Raises LoraError for a target that no layer's name ends with; ValueError for a layer that takes no product.
    """
    from peft import LoraConfig, get_peft_model

    require_targets(network, config.targets, where)
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        exclude_modules=r"network\.heads\..*" if "heads" in dict(network.named_children()) else None,
    )
    # peft looks for a transformers config in what it is given; a teacher's `config` is none.
    get_peft_model(nn.ModuleDict({"network": network}), settings)
    for name, parameter in network.named_parameters():
        if name.startswith("heads."):
            parameter.requires_grad_(True)


def require_targets(network: nn.Module, targets: Sequence[str], where: str) -> None:
    """Raises LoraError for a target that no layer's name ends with. where: the key that has them."""
    names = [name for name, _ in network.named_modules() if not name.startswith("heads.")]
    linear = sorted({name.rpartition(".")[2] for name, one in network.named_modules() if isinstance(one, nn.Linear)})
    for target in targets:
        if not any(f".{name}".endswith(f".{target}") for name in names):
            hint = did_you_mean(target, linear)
            message = f"{where}.targets: found `{target}`, with which no layer's name ends"
            raise LoraError(f"{message}; linear layers here end with {', '.join(linear)}{hint}")


def merge_lora(network: nn.Module) -> None:
    """Write the products into the weights, in place: the network is as it was, with other weights."""
    from peft.tuners.lora import LoraLayer

    for name, layer in list(network.named_modules()):
        if isinstance(layer, LoraLayer):
            layer.merge()
            network.set_submodule(name, layer.get_base_layer())


def without_lora(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name as they are without the products: those of the ordinary network before the products learn."""
    return {name.replace(".base_layer.", "."): value for name, value in weights.items() if ".lora_" not in name}
