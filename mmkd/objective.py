"""The objective: terms with their coefficients, summed into task groups; the rest stands outside the weighting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from mmkd.config.looks import Look
from mmkd.config.plugin_base import LossConfig, TaskLossConfig
from mmkd.config.schedule import value_at
from mmkd.errors import MmkdError
from mmkd.losses.base import Loss
from mmkd.mixup import reordered, reordered_logits
from mmkd.types import Batch, Mixed, Outputs, rows_of

Over = Literal["tasks", "parts"]


class NonFinite(MmkdError):
    """A number of a step is inf or NaN; the message names what it is, the step and the samples."""


class NonFiniteTerm(NonFinite):
    """A term of the objective, or the logits of a network that it reads."""


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

    def total(self) -> Tensor | None:
        """Everything, unweighted; None without any term."""
        parts = [*self.by_task.values(), *([] if self.rest is None else [self.rest])]
        return torch.stack(parts).sum() if parts else None

    def plus(self, other: Objective) -> Objective:
        """The sum with another objective of the same terms, term by term; the values stay those of this one."""
        rests = [rest for rest in (self.rest, other.rest) if rest is not None]
        return Objective(
            self.values,
            _sums(self.by_task, other.by_task),
            torch.stack(rests).sum() if rests else None,
            _sums(self.terms, other.terms),
            self.groups | other.groups,
        )


def _sums(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {**other, **{name: value + other[name] if name in other else value for name, value in one.items()}}


@dataclass(frozen=True)
class View:
    """Something that a loss is taken of, and its share in the term's value."""

    share: float
    student: Outputs
    teachers: Mapping[str, Outputs]
    batch: Batch


class Terms(nn.Module):
    """The terms of an experiment, with their projections."""

    def __init__(self, losses: Mapping[str, Loss], over: Over = "tasks") -> None:
        """losses: term name -> loss. over: what the weighting balances, as its config has it."""
        super().__init__()
        self.losses, self.over = nn.ModuleDict(losses), over

    @property
    def looks(self) -> tuple[Look, ...]:
        """The further looks at a batch that losses need of the student, each once."""
        configs = [loss.config for loss in self.losses.values() if isinstance(loss, Loss)]
        return tuple(dict.fromkeys(look for config in configs for look in config.student_needs().looks))

    def forward(
        self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch, progress: float, step: int
    ) -> Objective:
        """progress: share of the run's steps that are done, for schedules. step: for messages.

        Where the student speaks of mixtures, a term that learns from them is the mean of its values with each example's
        targets, by their shares.
        A task's term without a row in the batch is left out, of the values too; so is a task without any such term.
        Raises NonFiniteTerm for a term that is not finite, or for logits that are not and that no term shows.
        """
        found: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        groups: dict[str, str] = {}
        by_task: dict[str, Tensor] = {}
        rest: Tensor | None = None
        plain = [View(1.0, student, teachers, batch)]
        mixed = plain if student.mixed is None else _of_mixtures(student.mixed, teachers, batch)
        for name, loss in self.losses.items():
            assert isinstance(loss, Loss)  # as `__init__` was given
            task, views = loss.config.group, mixed if learns_from_mixtures(loss) else plain
            if task is not None:
                views = [view for view in views if present(loss, task, view.student, view.teachers, view.batch)]
            if not views:
                continue
            loss.progress = progress
            values = [view.share * loss(view.student, view.teachers, view.batch) for view in views]
            value = found[name] = sum(values[1:], values[0])
            term = terms[name] = value_at(loss.config.weight, progress) * value
            if task is None:
                rest = term if rest is None else rest + term
            else:
                group = groups[name] = group_of(loss.config, task, self.over)
                by_task[group] = by_task[group] + term if group in by_task else term
        spoken = {"the student": student, **{f"teacher {name}": each for name, each in teachers.items()}}
        return Objective(_read(found, spoken, batch, step), by_task, rest, terms, groups)


def learns_from_mixtures(loss: Loss) -> bool:
    """Whether a term reads the logits of a task over examples and nothing else of what networks say."""
    config = loss.config
    if not isinstance(config, TaskLossConfig) or not config.trains_head:
        return False
    own, taught = config.student_needs(), config.teacher_needs()
    features = own.layers or own.looks or any(needs.pooled or needs.layers for needs in taught)
    return not features and loss.setting.tasks[config.task].level == "example"


def _of_mixtures(mixed: Mixed, teachers: Mapping[str, Outputs], batch: Batch) -> list[View]:
    """The mixtures with the targets of each example, and with those of its partner."""
    others = {name: reordered_logits(said, mixed.order) for name, said in teachers.items()}
    return [
        View(mixed.share, mixed.outputs, teachers, batch),
        View(1 - mixed.share, mixed.outputs, others, reordered(batch, mixed.order)),
    ]


def group_of(config: LossConfig, task: str, over: Over) -> str:
    """The group that a task's term is summed into: the task, or the part of it that the term belongs to."""
    return task if over == "tasks" else f"{task}.{'distilled' if config.teacher_needs() else 'supervised'}"


def groups_of(losses: Iterable[LossConfig], tasks: Iterable[str], over: Over) -> list[str]:
    """Every group that can occur, in the order of the tasks."""
    found = {group_of(config, config.group, over) for config in losses if config.group is not None}
    parts = [(task, f"{task}.supervised", f"{task}.distilled") for task in tasks]
    return [name for names in parts for name in names if name in found]


def _read(found: Mapping[str, Tensor], spoken: Mapping[str, Outputs], batch: Batch, step: int) -> dict[str, float]:
    """The terms' values, brought from the device in one go: each transfer would wait for all that was asked of it.

    spoken: what the networks said, by name. An infinite logit may leave a term finite (its sigmoid is 1).
    """
    if not found:
        return {}
    named = {f"losses.{name}": value.detach().float() for name, value in found.items()}
    named |= {name: _unsound(outputs) for name, outputs in spoken.items() if outputs.logits}
    values = dict(zip(named, torch.stack(list(named.values())).tolist(), strict=True))
    for name, value in values.items():
        if not math.isfinite(value):
            what = f"{name} is {value}" if name.startswith("losses.") else f"a logit of {name} is not finite"
            raise NonFiniteTerm(
                f"step {step}: {what}; samples {', '.join(batch.ids)}; "
                "look at these rows, lower train.lr, or set train.clip"
            )
    return {name: values[f"losses.{name}"] for name in found}


@torch.no_grad()
def _unsound(outputs: Outputs) -> Tensor:
    """0 where every logit that has a meaning is finite, else NaN: x - x is 0 or NaN, however large x is."""
    found = []
    for logits in outputs.logits.values():
        rows = outputs.speaks if logits.ndim == 2 else outputs.words
        found.append(torch.where(rows, (logits - logits).float().sum(-1), 0).sum())
    return torch.stack(found).sum()


def output_values(outputs: Outputs) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each output by name, with the mask of what has a meaning in it, over its first dimensions."""
    for task, logits in outputs.logits.items():
        yield f"logits.{task}", logits, outputs.speaks if logits.ndim == 2 else outputs.words
    for modality, pooled in outputs.pooled.items():
        yield f"pooled.{modality}", pooled, outputs.has[modality]
    for modality, layers in outputs.hidden.items():
        for number, hidden in layers.items():
            rows = hidden.mask & outputs.has[modality][:, None] if modality in outputs.has else hidden.mask
            yield f"hidden.{modality}.{number}", hidden.values, rows
    if outputs.fused is not None:
        yield "fused", outputs.fused, outputs.speaks


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
