"""What a loss is: a term of the objective, computed from what the student and the teachers say about a batch."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor, nn

from mmkd.heads import TaughtHead
from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs, OutputShape

if TYPE_CHECKING:
    from mmkd.config.plugin_base import LossConfig


@dataclass(frozen=True)
class Setting:
    """What a loss is built for: the tasks, and the widths of the student's and the teachers' outputs.

    heads: teacher -> task over examples -> its own frozen head, where it has one.
    """

    tasks: Mapping[str, Task]
    student: OutputShape
    teachers: Mapping[str, OutputShape]
    heads: Mapping[str, Mapping[str, TaughtHead]] = field(default_factory=dict)


class Loss(nn.Module, abc.ABC):
    """A term. A plug-in: `kind` under `losses:` is a file with a `Config` and one class `Loss`.

    The module holds the term's own parameters (projections), which train with the student and are no part of it.
    The math is a pure function beside it; the module chooses the rows.
    """

    def __init__(self, config: LossConfig, setting: Setting) -> None:
        """Build the term's projections, if it has any, from the widths in `setting`."""
        super().__init__()
        self.config, self.setting = config, setting
        self.progress = 0.0
        """Share of the run's steps that are done, for schedules of more than the coefficient; the objective sets it."""

    @abc.abstractmethod
    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """The term's value, a scalar, before its coefficient. Without a row in the batch: 0 with zero gradient."""
