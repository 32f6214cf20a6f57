"""Outputs of modules inside a network, which stays as it is: forward hooks on what the layers' names mean.

Names are those of `mmkd.config.layers`. Text and image encoders share this file: it finds the modules of transformers
and of timm, and hands on their outputs, by sub-token or by token of the image; the encoders bring these to words and to
positions as they do with a block's output. Nothing is hooked that was not asked for.

Attention is exchanged as the queries and keys that it is computed from, brought to words like any other feature. A
score is linear in its query and in its key: the product of two words' queries and keys, divided by the root of a head's
width, is exactly the score of their first sub-tokens (`pooling: first`), or the mean of the scores over the sub-tokens
of both (`mean`), in whatever number each tokenizer cuts them. So are the scores of patches that are averaged to
another grid. The softmax over the words or patches kept is the attention among these, without special tokens. This
needs one vector for each word, where a map of each head would need one number for each pair, and the cache keeps it as
it is. It holds for attention that is nothing else than the softmax of these scores, which is tried when the network is
built: one with relative or rotary positions, norms of queries, or a causal mask is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.layers import EMBEDDING, KEY, QUERY, VALUE, Layer, attention_part, inside
from mmkd.config.problems import did_you_mean

PROJECTIONS = {
    QUERY: ("query", "q_proj", "q_lin"),
    KEY: ("key", "k_proj", "k_lin"),
    VALUE: ("value", "v_proj", "v_lin"),
}
"""Names that architectures give to the linear layers of self-attention."""
FUSED = "qkv"
"""Name of one linear layer for all three, one after the other."""
HEADS = ("num_attention_heads", "num_heads", "n_heads")
"""Names that modules of self-attention give to their number of heads."""
SMALLEST_LOG = -20.0
"""Of a probability; smaller ones are as good as 0."""


@dataclass
class _Tap:
    """A hook that keeps what its module gave last, the whole or one of three equal parts of its width.

    An object and not a closure: a copy of the network has copies of its hooks, which then keep its own outputs.
    """

    part: int | None = None
    kept: Tensor | None = None

    def after(self, module: nn.Module, inputs: Any, output: Any) -> None:
        """Keep the output; of several the first."""
        found = output[0] if isinstance(output, tuple) else output
        self.kept = found if self.part is None else found.chunk(3, -1)[self.part]

    def before(self, module: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Keep the first input."""
        self.kept = inputs[0] if inputs else next(iter(named.values()))


class Taps:
    """Taps on a network. heads: name of each query, key and value that is tapped -> its number of heads."""

    def __init__(self, network: nn.Module, names: Sequence[str], depth: int) -> None:
        """Hook the modules that the names mean. depth: number of the network's blocks.

        Raises ValueError for a name that means none.
        """
        self.heads: dict[str, int] = {}
        self._taps = {name: self._tapped(network, name, depth) for name in names}

    def _tapped(self, network: nn.Module, name: str, depth: int) -> _Tap:
        part = attention_part(name)
        if part is None and name != EMBEDDING:
            return self._hooked(_module_at(network, name))
        blocks = blocks_of(network, depth)
        if part is None:
            tap = _Tap()
            blocks[0].register_forward_pre_hook(tap.before, with_kwargs=True)
            return tap
        if part[0] >= depth:
            raise ValueError(f"layer {name}: this network has the blocks 0 to {depth - 1}")
        attention, projection, third = _projection(blocks[part[0]], part[1], type(network).__name__)
        found = [number for key in HEADS if isinstance(number := getattr(attention, key, None), int)]
        if not found:
            raise ValueError(f"layer {name}: {type(attention).__name__} does not say how many heads it has")
        self.heads[name] = found[0]
        return self._hooked(projection, third)

    def _hooked(self, module: nn.Module, part: int | None = None) -> _Tap:
        tap = _Tap(part)
        module.register_forward_hook(tap.after)
        return tap

    def take(self) -> dict[Layer, Tensor]:
        """What the modules gave since the last call, by name.

        Raises ValueError for a module that the forward pass does not call, or one that gives no tensor.
        """
        found: dict[Layer, Tensor] = {}
        for name, tap in self._taps.items():
            if not isinstance(tap.kept, Tensor):
                raise ValueError(f"layer {name}: the module gives no tensor when the network runs; name another")
            found[name], tap.kept = tap.kept, None
        return found

    def attention_blocks(self) -> list[int]:
        """Blocks of which both query and key are tapped."""
        parts = {attention_part(name) for name in self._taps} - {None}
        return sorted({part[0] for part in parts if part and {(part[0], QUERY), (part[0], KEY)} <= parts})

    def require_whole_attention(self, said: Mapping[Layer, Tensor], block: int, own: Float[Tensor, "B H N N"]) -> None:
        """Raises ValueError when the block's attention is not the softmax of the scores of its queries and keys.

        said: what was tapped, in evaluation mode. own: the probabilities that the block itself used.
        """
        query, key = said[inside(block, QUERY)].float(), said[inside(block, KEY)].float()
        scores = attention_scores(query, key, self.heads[inside(block, QUERY)])
        rounding = 1e-5 * scores.abs().max().clamp(min=1.0)
        errors = scores.log_softmax(-1).clamp(min=SMALLEST_LOG) - own.float().log().clamp(min=SMALLEST_LOG)
        if scores.shape != own.shape or not errors.abs().max() <= rounding:
            raise ValueError(
                f"layers {inside(block, QUERY)} and {inside(block, KEY)}: this network's attention is more than the "
                "softmax of their scores (relative or rotary positions, a norm, a causal mask); expected plain "
                "attention, as of BERT, DistilBERT, RoBERTa, ELECTRA and ViT, or layers that are hidden states"
            )


def blocks_of(network: nn.Module, depth: int) -> Sequence[nn.Module]:
    """The network's blocks: its outermost list of so many modules.

    Raises ValueError where there is none, or more than one.
    """
    found: dict[str, Sequence[nn.Module]] = {}
    for name, module in network.named_modules():
        inner = any(name.startswith(f"{outer}.") for outer in found)
        if isinstance(module, nn.ModuleList | nn.Sequential) and len(module) == depth and not inner:
            found[name] = list(module)
    stacks = {name: each for name, each in found.items() if len({type(block) for block in each}) == 1}
    if len(stacks) != 1:
        names = ", ".join(stacks) or "none"
        raise ValueError(
            f"{type(network).__name__}: expected one list of {depth} equal blocks, found {names}; name a module by its "
            "path in the model"
        )
    return next(iter(stacks.values()))


def _projection(block: nn.Module, part: str, network: str) -> tuple[nn.Module, nn.Module, int | None]:
    """The attention of a block, the linear layer that gives its part, and which third of its output that is."""
    modules = dict(block.named_modules())
    named = {name: each for name, each in modules.items() if isinstance(each, nn.Linear)}
    for wanted, third in ((PROJECTIONS[part], None), ((FUSED,), (QUERY, KEY, VALUE).index(part))):
        found = [name for name in named if name.rpartition(".")[2] in wanted]
        if len(found) == 1:
            return modules[found[0].rpartition(".")[0]], named[found[0]], third
    raise ValueError(
        f"{network}: found no {part} in its {type(block).__name__}; expected one linear layer with a name out of "
        f"{', '.join((*PROJECTIONS[part], FUSED))}, as BERT, DistilBERT, RoBERTa, ELECTRA and timm's ViT have, or the "
        "path of a module"
    )


def _module_at(network: nn.Module, path: str) -> nn.Module:
    modules = dict(network.named_modules())
    if path not in modules:
        raise ValueError(
            f"layer {path}: {type(network).__name__} has no module of that path{did_you_mean(path, modules)}; expected "
            f"a block's number, `{EMBEDDING}`, `<block>.{QUERY}`, `.{KEY}` or `.{VALUE}`, or a path such as "
            f"`{list(modules)[len(modules) // 2]}`"
        )
    return modules[path]


def attention_scores(query: Float[Tensor, "B N D"], key: Float[Tensor, "B N D"], heads: int) -> Tensor:
    """[B, heads, N, N]: products of queries and keys over the root of a head's width, before the softmax."""
    own, other = (rearrange(each, "b n (h d) -> b h n d", h=heads) for each in (query, key))
    return einsum(own, other, "b h i d, b h j d -> b h i j") / own.shape[-1] ** 0.5


@contextmanager
def unfused_attention(block: nn.Module) -> Iterator[_Tap]:
    """A tap on the probabilities of a timm block, which computes them one by one while the context lasts.

    Raises ValueError for a block of another kind.
    """
    found: list[Any] = [each for each in block.modules() if hasattr(each, "attn_drop") and hasattr(each, "fused_attn")]
    if len(found) != 1:
        raise ValueError(f"{type(block).__name__}: expected the attention of timm's ViT, found {len(found)} like it")
    attention, fused, tap = found[0], found[0].fused_attn, _Tap()
    attention.fused_attn = False
    handle = attention.attn_drop.register_forward_hook(tap.after)
    try:
        yield tap
    finally:
        attention.fused_attn = fused
        handle.remove()
