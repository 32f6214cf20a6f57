"""A user's teacher with a planted mistake; with the fault `none`, one that is right: the mean of its sub-tokens.

Its words on rows with a label are the label's, so that the order of its classes can be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.encoders import TextEncoder
from mmkd.config.plugin_base import Modality, TeacherConfig
from mmkd.data.corpus import Readers
from mmkd.data.tokens import text_reader
from mmkd.tasks.base import Task
from mmkd.teachers import base
from mmkd.types import Batch, Outputs, OutputShape

MADE: list[Any] = []
"""The teachers that were made: what a weighting can get hold of."""


class Config(TextEncoder, TeacherConfig):
    kind: Literal["lab.faulty_teacher"] = "lab.faulty_teacher"
    fault: str = "none"

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return ("text",)


class Teacher(base.Teacher):
    @classmethod
    def readers_of(cls, config: Config, name: str, texts: base.Texts, folder: Path) -> Readers:
        return Readers({name: text_reader(config, texts(), folder)}, {})

    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        super().__init__(config, name, tasks, readers)
        torch.manual_seed(4)
        self.vectors = nn.Embedding(readers.text[name].vocabulary, 8)
        self.heads = nn.ModuleDict({task: nn.Linear(8, len(own.labels)) for task, own in tasks.items()})
        self.norm = nn.BatchNorm1d(8)
        self.shape = OutputShape({"text": 8}, {}, {"text": 1})
        MADE.append(self)

    def freeze(self) -> None:
        if self.config.fault != "learns":
            self.requires_grad_(False)
        if self.config.fault != "in training mode":
            self.eval()

    def forward(self, batch: Batch) -> Outputs:
        fault, tokens = self.config.fault, batch.tokens[self.name]
        vectors = self.vectors(tokens.ids)
        if fault == "padding":
            pooled = vectors.mean(1)
        else:
            pooled = (vectors * tokens.mask[..., None]).sum(1) / tokens.mask.sum(1, keepdim=True).clamp(min=1)
        pooled = self.norm(pooled)
        if fault == "drops":
            pooled = functional.dropout(pooled, 0.5)
        if fault == "sees its batch":
            pooled = pooled - pooled.mean(0)
        if fault == "sorts its rows":
            pooled = pooled[tokens.mask.sum(1).argsort()]
        logits = {task: head(pooled) + self._label(batch, task) for task, head in self.heads.items()}
        if fault == "learns by the way":
            pooled = pooled * torch.ones((), requires_grad=True)
        return Outputs(
            logits, batch.has_text, torch.zeros_like(batch.word_mask), {"text": pooled}, {"text": batch.has_text}
        )

    def _label(self, batch: Batch, task: str) -> Tensor:
        classes = len(self.tasks[task].labels)
        label = batch.labels[task]
        if self.config.fault == "classes in another order":
            label = torch.where(label >= 0, classes - 1 - label, label)
        return 9.0 * functional.one_hot(label.clamp(min=0), classes) * (label >= 0)[:, None]
