"""A teacher's outputs as named arrays, made smaller as asked for, and back.

Each array has one value per row, or, for outputs over words, one per word, the words of all rows one after the other.
Names follow from the outputs alone: `speaks`, `words`, `logits.<task>`, `pooled.<modality>`, `has.<modality>`,
`hidden.<modality>.<layer>` with `mask.<modality>.<layer>`, and `fused`. Of a text every layer is over words.

Logits that are cut to the k largest of K are stored as these, `logits.<task>`, their classes, `top.<task>`, and
`rest.<task>`, the logsumexp of the other K - k less ln(K - k): each of the others is read as that one logit. At
temperature 1 the k probabilities and the sum of the others are the teacher's; only how the others share is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmkd.cache.projection import Projection
from mmkd.config.layers import Layer, layer_named
from mmkd.types import Hidden, Outputs

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Flat:
    """An output by row, or if `ragged` by word: values [R, ...]."""

    values: Tensor
    ragged: bool


@dataclass(frozen=True)
class Packing:
    """How outputs are stored. top: task -> how many logits are kept. projections: name of a feature -> its own."""

    dtype: str
    top: Mapping[str, int] = field(default_factory=dict)
    projections: Mapping[str, Projection] = field(default_factory=dict)

    def pack(self, outputs: Mapping[str, Flat], classes: Mapping[str, Tensor] | None = None) -> dict[str, Flat]:
        """What is stored of these outputs, not yet in the narrow type.

        classes: task -> [R, k], the classes to keep; None: those with the largest logits.
        """
        packed: dict[str, Flat] = {}
        for name, flat in outputs.items():
            task = name.removeprefix("logits.")
            if task in self.top and name != task:
                chosen = flat.values.topk(self.top[task]).indices if classes is None else classes[task]
                kept, rest = cut_logits(flat.values.float(), chosen)
                packed[f"top.{task}"] = Flat(chosen.to(torch.int32), flat.ragged)
                packed[name], packed[f"rest.{task}"] = Flat(kept, flat.ragged), Flat(rest, flat.ragged)
            elif name in self.projections:
                packed[name] = Flat(self.projections[name].narrow(flat.values.float()), flat.ragged)
            else:
                packed[name] = flat
        return packed

    def narrow(self, values: Tensor) -> Tensor:
        """Numbers in the type that is stored; what is no fraction stays as it is."""
        return values.to(DTYPES[self.dtype]) if values.is_floating_point() else values

    def restore(self, name: str, packed: Mapping[str, Tensor], classes: int) -> Tensor:
        """The output of that name, as it will be read again, in the teacher's own width. classes: of the task."""
        task, values = name.removeprefix("logits."), packed[name].float()
        if name in self.projections:
            return self.projections[name].widen(values)
        if f"top.{task}" in packed:
            return whole_logits(packed[f"top.{task}"].long(), values, packed[f"rest.{task}"].float(), classes)
        return values


def flatten(outputs: Outputs, word_mask: Tensor) -> dict[str, Flat]:
    """Each output by its stored name. word_mask: [B, W], the words that there are."""
    named = {"speaks": Flat(outputs.speaks, False), "words": Flat(outputs.words, True)}
    named |= {f"logits.{task}": Flat(values, values.ndim == 3) for task, values in outputs.logits.items()}
    named |= {f"pooled.{modality}": Flat(values, False) for modality, values in outputs.pooled.items()}
    named |= {f"has.{modality}": Flat(values, False) for modality, values in outputs.has.items()}
    for modality, layers in outputs.hidden.items():
        for layer, hidden in layers.items():
            named[f"hidden.{modality}.{layer}"] = Flat(hidden.values, modality == "text")
            named[f"mask.{modality}.{layer}"] = Flat(hidden.mask, modality == "text")
    if outputs.fused is not None:
        named["fused"] = Flat(outputs.fused, False)
    return {name: Flat(each.values[word_mask], True) if each.ragged else each for name, each in named.items()}


def grids_of(outputs: Outputs) -> dict[str, tuple[int, int]]:
    """`<modality>.<layer>` -> rows and columns of the positions of layers that have them."""
    layers = {f"{modality}.{n}": each for modality, own in outputs.hidden.items() for n, each in own.items()}
    return {name: layer.grid for name, layer in layers.items() if layer.grid is not None}


def outputs_of(
    stored: Mapping[str, Tensor], grids: Mapping[str, tuple[int, int]], classes: Mapping[str, int]
) -> Outputs:
    """Outputs from what is stored, padded to [B, W, ...] where it is over words. classes: task -> K of cut logits."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, values in stored.items():
        sort, _, rest = name.partition(".")
        found.setdefault(sort, {})[rest] = values
    logits = found.get("logits", {})
    for task, top in found.get("top", {}).items():
        logits[task] = whole_logits(top.long(), logits[task], found["rest"][task], classes[task])
    hidden: dict[str, dict[Layer, Hidden]] = {}
    for name, values in found.get("hidden", {}).items():
        modality, _, layer = name.partition(".")
        hidden.setdefault(modality, {})[layer_named(layer)] = Hidden(values, found["mask"][name], grids.get(name))
    return Outputs(
        logits=logits,
        speaks=stored["speaks"],
        words=stored["words"],
        pooled=found.get("pooled", {}),
        has=found.get("has", {}),
        hidden={modality: hidden.get(modality, {}) for modality in found.get("has", {})} | hidden,
        fused=stored.get("fused"),
    )


def cut_logits(
    logits: Float[Tensor, "*R K"], chosen: Int[Tensor, "*R k"]
) -> tuple[Float[Tensor, "*R k"], Float[Tensor, "*R"]]:
    """The chosen logits, and the one that stands for each of the others."""
    others = logits.shape[-1] - chosen.shape[-1]
    without = logits.scatter(-1, chosen.long(), -math.inf)
    return logits.gather(-1, chosen.long()), without.logsumexp(-1) - math.log(others)


def whole_logits(
    chosen: Int[Tensor, "*R k"], kept: Float[Tensor, "*R k"], rest: Float[Tensor, "*R"], classes: int
) -> Float[Tensor, "*R K"]:
    """All logits again: those that were kept in their places, and one for each of the others."""
    return rest[..., None].expand(*rest.shape, classes).scatter(-1, chosen, kept)
