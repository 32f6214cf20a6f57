"""`supervised`: the task's own loss on the rows that have a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from mmkd.config.plugin_base import TaskLossConfig
from mmkd.losses import base
from mmkd.types import Batch, Outputs, rows_of


class Config(TaskLossConfig):
    """Learn the task from its labels."""

    kind: Literal["supervised"] = "supervised"


class Loss(base.Loss):
    """Rows: labelled, and the student speaks on them."""

    config: Config

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Mean over rows, in the unit of the task's loss."""
        task = self.setting.tasks[self.config.task]
        rows = rows_of(task.level, batch, student) & task.labelled_rows(batch)
        return task.loss(student.logits[task.name][rows], batch.labels[task.name][rows])
