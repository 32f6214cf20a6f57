"""How an encoder of the student is adapted while its own weights stay as they are. No torch here.

LoRA (2106.09685) adds a product of two thin matrices to a layer's weight; prefix tuning (2101.00190) gives each block's
attention learned keys and values; an adapter (1902.00751) is a bottleneck with a residual after a layer.
"""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Strict
from pydantic_core import PydanticCustomError

from mmkd.config.plugin_base import Lora, Modality
from mmkd.config.problems import did_you_mean, listed, shown
from mmkd.config.section import PositiveInt, Section


class LoraKind(Lora):
    """Low-rank products, merged into the weights when training ends: the stored student is an ordinary one."""

    kind: Literal["lora"]


class Prefix(Section):
    """Prefix tuning: `tokens` learned keys and values before those of the text, in each block, without a
    reparametrisation; they are stored with the student. Only text encoders that take keys and values of the past do.
    """

    kind: Literal["prefix"]
    tokens: PositiveInt = 16


class Bottleneck(Section):
    """Adapters, stored with the student: what a layer gives, h, becomes h + W2 gelu(W1 h), with W2 = 0 at the start.

    width: of W1 h. targets: linear layers that have one, by the end of their names. Houlsby and others have two to a
    block, before the residuals of attention and of feed-forward: `output.dense` for BERT; `attn.proj`, `fc2` for a ViT.
    """

    kind: Literal["adapter"]
    width: PositiveInt = 64
    targets: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]


def _of_kinds(*kinds: str) -> BeforeValidator:
    """pydantic's own error would list the keys of every kind."""

    def known(value: object) -> object:
        kind = value.get("kind") if isinstance(value, dict) else None
        if isinstance(value, dict) and kind not in kinds:
            text = f"found {shown(kind)} as `kind`; expected one of {listed(kinds)}{did_you_mean(str(kind), kinds)}"
            raise PydanticCustomError("unknown_kind", "{text}", {"text": text})
        return value

    return BeforeValidator(known)


TextAdaptation = Annotated[
    LoraKind | Prefix | Bottleneck, Discriminator("kind"), _of_kinds("lora", "prefix", "adapter")
]
ImageAdaptation = Annotated[LoraKind | Bottleneck, Discriminator("kind"), _of_kinds("lora", "adapter")]


class Adapt(Section):
    """Encoders that are adapted: their own weights stay, what is added learns, and so does all beside the encoder.

    text, image: how; null trains the whole encoder. Batch norms of an adapted encoder keep their stored statistics.
    """

    text: TextAdaptation | None = None
    image: ImageAdaptation | None = None

    def by_modality(self) -> dict[Modality, LoraKind | Prefix | Bottleneck]:
        """Those that are adapted."""
        both: dict[Modality, LoraKind | Prefix | Bottleneck | None] = {"text": self.text, "image": self.image}
        return {modality: one for modality, one in both.items() if one is not None}
