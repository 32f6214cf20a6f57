"""The objective: terms with their coefficients, summed into task groups; the rest stands outside the weighting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.plugin_base import LossConfig
from mmkd.config.schedule import value_at
from mmkd.errors import MmkdError
from mmkd.losses.base import Loss
from mmkd.types import Batch, Outputs, rows_of

Over = Literal["tasks", "parts"]


class NonFiniteTerm(MmkdError):
    """A term of the objective is inf or NaN; the message names it, the step and the samples."""


@dataclass(frozen=True)
class Objective:
    """values: of each term that has a row. by_task: coefficient x value, summed per group with a row. rest: all else.

    terms: coefficient x value, of each term. groups: term -> the entry of `by_task` that it is summed into.
    """

    values: dict[str, float]
    by_task: dict[str, Tensor]
    rest: Tensor | None
    terms: dict[str, Tensor] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)


class Terms(nn.Module):
    """The terms of an experiment, with their projections."""

    def __init__(self, losses: Mapping[str, Loss], over: Over = "tasks") -> None:
        """losses: term name -> loss. over: what the weighting balances, as its config has it."""
        super().__init__()
        self.losses, self.over = nn.ModuleDict(losses), over

    def forward(
        self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch, progress: float, step: int
    ) -> Objective:
        """progress: share of the run's steps that are done, for schedules. step: for messages.

        A task's term without a row in the batch is left out, of the values too; so is a task without any such term.
        Raises NonFiniteTerm for a term that is not finite.
        """
        found: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        groups: dict[str, str] = {}
        by_task: dict[str, Tensor] = {}
        rest: Tensor | None = None
        for name, loss in self.losses.items():
            assert isinstance(loss, Loss)  # as `__init__` was given
            task = loss.config.group
            if task is not None and not present(loss, task, student, teachers, batch):
                continue
            loss.progress = progress
            value = found[name] = loss(student, teachers, batch)
            term = terms[name] = value_at(loss.config.weight, progress) * value
            if task is None:
                rest = term if rest is None else rest + term
            else:
                group = groups[name] = group_of(loss.config, task, self.over)
                by_task[group] = by_task[group] + term if group in by_task else term
        return Objective(_read(found, batch, step), by_task, rest, terms, groups)


def group_of(config: LossConfig, task: str, over: Over) -> str:
    """The group that a task's term is summed into: the task, or the part of it that the term belongs to."""
    return task if over == "tasks" else f"{task}.{'distilled' if config.teacher_needs() else 'supervised'}"


def groups_of(losses: Iterable[LossConfig], tasks: Iterable[str], over: Over) -> list[str]:
    """Every group that can occur, in the order of the tasks."""
    found = {group_of(config, config.group, over) for config in losses if config.group is not None}
    parts = [(task, f"{task}.supervised", f"{task}.distilled") for task in tasks]
    return [name for names in parts for name in names if name in found]


def _read(found: Mapping[str, Tensor], batch: Batch, step: int) -> dict[str, float]:
    """The terms' values, brought from the device in one go: each transfer would wait for all that was asked of it."""
    if not found:
        return {}
    values = dict(zip(found, torch.stack([value.detach().float() for value in found.values()]).tolist(), strict=True))
    for name, value in values.items():
        if not math.isfinite(value):
            raise NonFiniteTerm(
                f"step {step}: losses.{name} is {value}; samples {', '.join(batch.ids)}; "
                "look at these rows, lower train.lr, or set train.clip"
            )
    return values


def present(loss: Loss, task: str, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> bool:
    """Whether a task's term has a row in this batch: where its teachers speak, with a label where it needs one."""
    needed = [teachers[needs.teacher] for needs in loss.config.teacher_needs()]
    level = loss.setting.tasks[task].level
    if loss.config.any_teacher:
        rows = torch.stack([rows_of(level, batch, student, teacher) for teacher in needed]).any(0)
    else:
        rows = rows_of(level, batch, student, *needed)
    if loss.config.needs_labels:
        rows = rows & loss.setting.tasks[task].labelled_rows(batch)
    return bool(rows.any())
