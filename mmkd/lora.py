"""Low-rank adaptation of a teacher while it is fine-tuned (LoRA, 2106.09685), through peft.

Each target's weight W becomes W + (alpha / rank) B A, of which B and A alone learn. Afterwards the sum is written into
W, so that the teacher is an ordinary network again.
"""

from __future__ import annotations

from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

from mmkd.config.plugin_base import Lora


def add_lora(network: nn.Module, config: Lora) -> PeftModel:
    """Add the products to the network, in place, and let them and its `heads` learn, nothing else.

    Raises ValueError for targets that the network has no layer for, or none that a product can be added to.
    """
    settings = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(config.targets),
        exclude_modules=r"network\.heads\..*",
    )
    # peft looks for a transformers config in what it is given; a teacher's `config` is none.
    adapted = get_peft_model(nn.ModuleDict({"network": network}), settings)
    for name, parameter in network.named_parameters():
        if name.startswith("heads."):
            parameter.requires_grad_(True)
    return adapted


def merge_lora(adapted: PeftModel) -> None:
    """Write the products into the weights, in place: the network is as it was, with other weights."""
    adapted.merge_and_unload()
