"""What every encoder gives, whichever modality it reads."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmkd.config.layers import Layer
from mmkd.types import Hidden

COMPILED: dict[str, Any] = {"dynamic": True, "options": {"fallback_random": True}}
"""How `torch.compile` makes an encoder's network: for any shape, with the random numbers that it draws uncompiled."""


@dataclass(frozen=True)
class Encoded:
    """pooled: [B, D]. hidden: layer -> Hidden, the last layer and those asked for."""

    pooled: Tensor
    hidden: dict[Layer, Hidden]
