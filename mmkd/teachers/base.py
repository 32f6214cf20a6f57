"""What a teacher is: a frozen network that says something about a batch, live or from the cache."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmkd.data.corpus import Readers
from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs, OutputShape

if TYPE_CHECKING:
    from mmkd.config.plugin_base import TeacherConfig


class Speaker(nn.Module, abc.ABC):
    """Something that speaks as a teacher does: a network, or a cache of what the network said."""

    name: str
    shape: OutputShape

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """What the teacher says about the batch."""


class Teacher(Speaker):
    """A live teacher. A plug-in: `kind` under `teachers:` is a file with a `Config` and one class `Teacher`.

    It reads `batch.tokens[name]` or `batch.images[name]`, as its `readers` encoded them.
    """

    def __init__(self, config: TeacherConfig, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """name: the teacher's name in the experiment. tasks: those that it has heads for, and no others."""
        super().__init__()
        self.config, self.name, self.tasks, self.readers = config, name, dict(tasks), readers

    def freeze(self) -> None:
        """Evaluation mode, without gradient, for good."""
        self.requires_grad_(False)
        self.eval()


def heads(tasks: Mapping[str, Task], width: int) -> nn.ModuleDict:
    """A new head for each task, on features of this width."""
    return nn.ModuleDict({name: task.head(width) for name, task in tasks.items()})


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
