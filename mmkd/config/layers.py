"""Names of a network's layers, in which losses, teachers and the student speak of them. No torch here.

A number is a block, counted from 0, and means its output. `embedding` is what block 0 reads. `3.query`, `3.key` and
`3.value` are what block 3's self-attention compares and mixes, all heads side by side. Any other name is the path of a
module in the model, for instance `encoder.layer.3.attention.output`, and means that module's output.
"""

from typing import Annotated

from pydantic import Field, Strict

Block = Annotated[int, Field(ge=0)]
Layer = Block | Annotated[str, Field(pattern=r"^[\w.]*[A-Za-z_][\w.]*$")]
Layers = Annotated[tuple[Layer, ...], Strict(False)]

EMBEDDING = "embedding"
QUERY, KEY, VALUE = "query", "key", "value"


def inside(block: int, part: str) -> str:
    """Name of a part of a block's self-attention: query, key or value."""
    return f"{block}.{part}"


def attention_part(layer: int | str) -> tuple[int, str] | None:
    """Block and part of a layer that is the query, key or value of a block; None for any other."""
    block, _, part = str(layer).partition(".")
    return (int(block), part) if block.isdecimal() and part in (QUERY, KEY, VALUE) else None


def block_of(layer: int | str) -> int | None:
    """The block that a layer's name says; None for a name that says none."""
    part = attention_part(layer)
    return layer if isinstance(layer, int) else None if part is None else part[0]


def layer_named(text: str) -> int | str:
    """The layer that is written so: a number is a block."""
    return int(text) if text.isdecimal() else text
