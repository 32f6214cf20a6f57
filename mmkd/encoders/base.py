"""What every encoder gives, whichever modality it reads."""

from dataclasses import dataclass

from torch import Tensor

from mmkd.types import Hidden


@dataclass(frozen=True)
class Encoded:
    """pooled: [B, D]. hidden: layer -> Hidden, the last layer and those asked for."""

    pooled: Tensor
    hidden: dict[int, Hidden]
