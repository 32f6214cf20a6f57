"""A head for each task: what turns features into logits, in teachers and in the student; and a teacher's by itself.

A teacher that speaks from the cache is not in memory, but a loss may need the head that stood on its features.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from mmkd.tasks.base import Task
from mmkd.types import Outputs, OutputShape


def heads(tasks: Mapping[str, Task], example: int, word: int | None = None) -> nn.ModuleDict:
    """A new head for each task, on features of these widths. word: None for the same as examples have."""
    widths = {"example": example, "word": example if word is None else word}
    return nn.ModuleDict({name: task.head(widths[task.level]) for name, task in tasks.items()})


def apply_heads(
    modules: nn.ModuleDict, tasks: Mapping[str, Task], example: Tensor, words: Tensor | None
) -> dict[str, Tensor]:
    """Logits of each task: from the example's feature [B, D], or for a task over words from [B, W, D].

    words: None when the network reads no text; it then says nothing about tasks over words.
    """
    features = {"example": example, "word": words}
    return {
        name: modules[name](feature) for name, task in tasks.items() if (feature := features[task.level]) is not None
    }


class ProjectedHead(nn.Module):
    """A student's head that ends in a teacher's (SimKD, 2203.14001): the projector learns, the head stays as it is."""

    def __init__(self, projector: nn.Module, head: nn.Module) -> None:
        """projector: from the student's feature to what the head reads."""
        super().__init__()
        self.projector, self.head = projector, head.requires_grad_(False)

    def forward(self, features: Tensor) -> Tensor:
        """Logits [..., K]."""
        logits: Tensor = self.head(self.projector(features))
        return logits


@dataclass(frozen=True)
class TaughtHead:
    """A teacher's own head of a task over examples, apart from the teacher, and frozen.

    module: from a feature [..., D] to logits [..., K]. width: D.
    reads: the modalities whose pooled features stand side by side before it; none: the fused feature.
    """

    module: nn.Module
    width: int
    reads: tuple[str, ...]

    def __call__(self, features: Tensor) -> Tensor:
        """Logits [..., K] of features [..., D], in their type and on their device. Only they have a gradient."""
        weights = {name: value.to(features) for name, value in self.module.state_dict().items()}
        logits: Tensor = functional_call(self.module, weights, (features,))
        return logits

    def feature(self, said: Outputs) -> Tensor:
        """What the head reads of the teacher's outputs: [B, D]."""
        if self.reads:
            return side_by_side(said.pooled, said.has, self.reads)
        assert said.fused is not None  # a head that reads no modality reads the fused feature
        return said.fused


def taught_heads(
    modules: nn.ModuleDict, tasks: Mapping[str, Task], shape: OutputShape, reads: tuple[str, ...]
) -> dict[str, TaughtHead]:
    """Copies of a teacher's heads of tasks over examples. shape: of the teacher; reads: as `TaughtHead` has it."""
    width = sum(shape.pooled[modality] for modality in reads) if reads else shape.fused
    assert width is not None  # a teacher whose heads read the fused feature has one
    return {
        name: TaughtHead(copy.deepcopy(modules[name]).requires_grad_(False).eval(), width, reads)
        for name, task in tasks.items()
        if task.level == "example"
    }


def side_by_side(pooled: Mapping[str, Tensor], has: Mapping[str, Tensor], reads: tuple[str, ...]) -> Tensor:
    """Pooled features of these modalities, [B, D] each, as one; zeros stand for one that an example lacks."""
    return torch.cat([pooled[each].masked_fill(~has[each][:, None], 0.0) for each in reads], dim=1)
