"""What a teacher is: a frozen network that says something about a batch, live or from the cache."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from mmkd import checkpoint
from mmkd.data.corpus import Corpus, Readers
from mmkd.heads import TaughtHead
from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs, OutputShape

if TYPE_CHECKING:
    from mmkd.config.plugin_base import TeacherConfig

Texts = Callable[[], Sequence[Sequence[str]]]
"""Gives the words of the labelled training rows, in a fixed order: what a tokenizer of one's own is trained on."""


class Speaker(nn.Module, abc.ABC):
    """Something that speaks as a teacher does: a network, or a cache of what the network said."""

    name: str
    shape: OutputShape

    @abc.abstractmethod
    def forward(self, batch: Batch) -> Outputs:
        """What the teacher says about the batch."""

    def taught_heads(self) -> Mapping[str, TaughtHead]:
        """Its own head of each task over examples, for losses and students; nothing where it has no such heads."""
        return {}


class Teacher(Speaker):
    """A live teacher. A plug-in: `kind` under `teachers:` is a file with a `Config` and one class `Teacher`.

    It reads `batch.tokens[name]` or `batch.images[name]`, as its `readers` encoded them.
    """

    code: ClassVar[tuple[str, ...]] = ()
    """Files and folders of the package, beside the plug-in's own file, that decide what it says."""

    def __init__(self, config: TeacherConfig, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """name: the teacher's name in the experiment. tasks: those that it has heads for, and no others."""
        super().__init__()
        self.config, self.name, self.tasks, self.readers = config, name, dict(tasks), readers

    @classmethod
    def readers_of(cls, config: Any, name: str, texts: Texts, folder: Path) -> Readers:
        """How a teacher of this kind reads texts and images, under its name; nothing where it reads neither.

        folder: where a tokenizer that is trained on `texts` is kept.
        """
        return Readers({}, {})

    def origin(self) -> dict[str, str]:
        """What its outputs come from when nothing is trained here: by name, a hash."""
        return {"weights": checkpoint.weights_hash(self.state_dict())}

    def require(self, corpus: Corpus) -> None:
        """Raises an MmkdError when it cannot teach on these training rows."""

    def unheard(self, corpus: Corpus) -> list[str]:
        """Ids of the rows that it knows nothing about; a network says something about all that it reads."""
        return []

    def freeze(self) -> None:
        """Evaluation mode, without gradient, for good."""
        self.requires_grad_(False)
        self.eval()
