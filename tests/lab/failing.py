"""A teacher kind that fails at its second batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from mmkd.config.plugin_base import Modality, TeacherConfig
from mmkd.data.corpus import Readers
from mmkd.tasks.base import Task
from mmkd.teachers import base
from mmkd.types import Batch, Outputs, OutputShape


class Config(TeacherConfig):
    kind: Literal["lab.failing"] = "lab.failing"
    modalities: ClassVar[tuple[Modality, ...]] = ("text",)


class Teacher(base.Teacher):
    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        super().__init__(config, name, tasks, readers)
        self.shape, self.asked = OutputShape({}, {}, {}), 0

    def forward(self, batch: Batch) -> Outputs:
        self.asked += 1
        if self.asked == 2:
            raise RuntimeError("no more words")
        return Outputs({}, batch.has_text, batch.word_mask)
