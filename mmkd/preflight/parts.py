"""The outputs of a network as parts, each with a mask of where it means something; and what to do with them.

A part is `logits.<task>`, `pooled.<modality>`, `hidden.<modality>.<layer>`, `fused` or `projected.<task>`; of the n-th
further look at the batch, `look<n>.<part>`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmkd.tasks.base import Task
from mmkd.types import Batch, Hidden, Outputs

GARBAGE = 1e3
"""Size of the numbers that are put where nothing means anything. They are finite: a term may multiply by its mask."""
WIDER = 2
"""Padding words that are added to a batch."""


@dataclass(frozen=True)
class Part:
    """values: [B, ...]; mask: [B] or [B, N], where they mean something."""

    values: Tensor
    mask: Tensor

    def row(self, row: int) -> Tensor:
        """What is said of a row, [M, ...]; M is 0 where nothing is said."""
        return self.values[row][self.mask[row]]


def parts_of(outputs: Outputs, tasks: Mapping[str, Task]) -> dict[str, Part]:
    """Every part of a network's outputs, by name."""
    found = {
        f"logits.{name}": Part(values, outputs.words if tasks[name].level == "word" else outputs.speaks)
        for name, values in outputs.logits.items()
    }
    found |= {f"pooled.{name}": Part(values, outputs.has[name]) for name, values in outputs.pooled.items()}
    for modality, layers in outputs.hidden.items():
        for layer, hidden in layers.items():
            mask = hidden.mask & outputs.has[modality][:, None]
            found[f"hidden.{modality}.{layer}"] = Part(hidden.values, mask)
    if outputs.fused is not None:
        found["fused"] = Part(outputs.fused, outputs.speaks)
    found |= {f"projected.{name}": Part(values, outputs.speaks) for name, values in outputs.projected.items()}
    for number, look in enumerate(outputs.looks.values()):
        found |= {f"look{number}.{name}": part for name, part in parts_of(look, tasks).items()}
    return found


def with_values(outputs: Outputs, values: Mapping[str, Tensor]) -> Outputs:
    """The outputs with other values in their parts. values: of every part, by name."""
    hidden = {
        modality: {layer: replace(own, values=values[f"hidden.{modality}.{layer}"]) for layer, own in layers.items()}
        for modality, layers in outputs.hidden.items()
    }
    return replace(
        outputs,
        logits={name: values[f"logits.{name}"] for name in outputs.logits},
        pooled={name: values[f"pooled.{name}"] for name in outputs.pooled},
        hidden=hidden,
        fused=values.get("fused"),
        projected={name: values[f"projected.{name}"] for name in outputs.projected},
        looks={
            look: with_values(own, _under(f"look{number}.", values))
            for number, (look, own) in enumerate(outputs.looks.items())
        },
    )


def _under(prefix: str, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def with_leaves(outputs: Outputs, tasks: Mapping[str, Task]) -> tuple[Outputs, dict[str, Tensor]]:
    """The outputs with values that want a gradient of their own, and these by name; cut off from what made them."""
    leaves = {name: part.values.detach().clone().requires_grad_() for name, part in parts_of(outputs, tasks).items()}
    return with_values(outputs, leaves), leaves


def without_graph(value: Any) -> Any:
    """A copy of outputs or of a part of them that keeps no graph alive."""
    return mapped(value, lambda tensor: tensor.detach().clone())


def in_order(value: Any, order: Sequence[int]) -> Any:
    """The rows of a batch, of outputs or of a part of them, in another order, or some of them."""
    found = mapped(value, lambda tensor: tensor[torch.as_tensor(order, device=tensor.device)])
    return replace(found, ids=tuple(value.ids[row] for row in order)) if isinstance(value, Batch) else found


def mapped(value: Any, change: Any) -> Any:
    """A batch or outputs with every tensor changed. change: of a tensor."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, Mapping):
        return {key: mapped(item, change) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return replace(value, **{f.name: mapped(getattr(value, f.name), change) for f in fields(value)})
    return value


def garbled(outputs: Outputs, tasks: Mapping[str, Task], generator: torch.Generator) -> Outputs:
    """The outputs with numbers of the size GARBAGE wherever they mean nothing."""
    return with_values(
        outputs, {n: _filled(part.values, part.mask, generator) for n, part in parts_of(outputs, tasks).items()}
    )


def _filled(values: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    noise = GARBAGE * torch.randn(values.shape, generator=generator).to(values)
    return torch.where(mask.view(*mask.shape, *[1] * (values.ndim - mask.ndim)), values, noise)


def garbled_labels(batch: Batch, tasks: Mapping[str, Task], generator: torch.Generator) -> Batch:
    """The batch with labels that look right wherever there is none."""
    labels = dict(batch.labels)
    for name, own in batch.labels.items():
        mask = tasks[name].labelled_rows(batch)
        match tasks[name].config.logits:
            case "classes":
                noise = torch.randint(len(tasks[name].labels), own.shape, generator=generator)
            case "labels":
                noise = torch.randint(2, own.shape, generator=generator)
            case "value":
                noise = GARBAGE * torch.randn(own.shape, generator=generator)
        labels[name] = torch.where(mask.view(*mask.shape, *[1] * (own.ndim - mask.ndim)), own, noise.to(own))
    return replace(batch, labels=labels)


def garbled_inputs(batch: Batch, generator: torch.Generator) -> Batch:
    """The batch with other sub-tokens under the padding, and pixels in the place of images that are not there."""
    tokens = {}
    for reader, own in batch.tokens.items():
        known = own.ids[own.mask]
        drawn = known[torch.randint(len(known), own.ids.shape, generator=generator).to(known.device)]
        tokens[reader] = replace(own, ids=torch.where(own.mask, own.ids, drawn))
    images = {}
    for reader, pixels in batch.images.items():
        noise = torch.randint(256, pixels.shape, generator=generator, dtype=torch.uint8).to(pixels.device)
        images[reader] = torch.where(batch.has_image[:, None, None, None], pixels, noise)
    return replace(batch, tokens=tokens, images=images)


def wider(outputs: Outputs, tasks: Mapping[str, Task]) -> Outputs:
    """The outputs as a batch with WIDER more padding words would have them."""
    logits = {n: padded(v) if tasks[n].level == "word" else v for n, v in outputs.logits.items()}
    hidden = dict(outputs.hidden)
    if "text" in hidden:
        hidden["text"] = {n: Hidden(padded(h.values), padded(h.mask), h.grid) for n, h in hidden["text"].items()}
    looks = {look: wider(own, tasks) for look, own in outputs.looks.items()}
    return replace(outputs, logits=logits, words=padded(outputs.words), hidden=hidden, looks=looks)


def wider_batch(batch: Batch, tasks: Mapping[str, Task]) -> Batch:
    """The batch with WIDER more padding words."""
    labels = {n: padded(v) if tasks[n].level == "word" else v for n, v in batch.labels.items()}
    return replace(batch, word_mask=padded(batch.word_mask), labels=labels)


def padded(values: Tensor) -> Tensor:
    """[B, W, ...] with WIDER more columns of 0."""
    return functional.pad(values, (*[0, 0] * (values.ndim - 2), 0, WIDER))
