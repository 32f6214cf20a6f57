"""A head for each task: what turns features into logits, in teachers and in the student."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mmkd.tasks.base import Task


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
