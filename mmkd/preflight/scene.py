"""A real batch with what was said of it, and ways to change it of which no term may learn, or every term must."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from mmkd.losses.base import Loss
from mmkd.preflight.parts import (
    Part,
    garbled,
    garbled_labels,
    in_order,
    parts_of,
    wider,
    wider_batch,
    with_values,
)
from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs


@dataclass(frozen=True)
class Scene:
    """A real batch with what the student and the teachers say about it; gradients of none of them are kept."""

    batch: Batch
    student: Outputs
    teachers: Mapping[str, Outputs]
    tasks: Mapping[str, Task]

    def rows(self, order: list[int]) -> Scene:
        """Some of the rows, in this order."""
        teachers = {name: in_order(said, order) for name, said in self.teachers.items()}
        return replace(
            self, batch=in_order(self.batch, order), student=in_order(self.student, order), teachers=teachers
        )


def said_otherwise(scene: Scene, seed: int) -> Scene:
    """The scene with noise added to all that the student says."""
    generator = torch.Generator().manual_seed(seed)
    parts = parts_of(scene.student, scene.tasks)
    noise = {name: torch.randn(part.values.shape, generator=generator) for name, part in parts.items()}
    values = {name: part.values + noise[name].to(part.values) for name, part in parts.items()}
    return replace(scene, student=with_values(scene.student, values))


def covers(scene: Scene, seed: int, widen: bool) -> Iterator[tuple[str, Callable[[Scene], Scene]]]:
    """Ways to change a batch of which no term may learn, by name. widen: random numbers may go by the place."""
    if widen:
        yield "how far the batch is padded", _widened
    yield "the labels of rows that have none", partial(_with_labels, seed=seed)
    yield "what stands where the student says nothing", partial(_with_student, seed=seed)
    for name in scene.teachers:
        yield f"what stands where the teacher `{name}` says nothing", partial(_with_teacher, name=name, seed=seed)


def _widened(scene: Scene) -> Scene:
    teachers = {name: wider(said, scene.tasks) for name, said in scene.teachers.items()}
    batch, student = wider_batch(scene.batch, scene.tasks), wider(scene.student, scene.tasks)
    return replace(scene, batch=batch, student=student, teachers=teachers)


def _with_labels(scene: Scene, seed: int) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    return replace(scene, batch=garbled_labels(scene.batch, scene.tasks, generator))


def _with_student(scene: Scene, seed: int) -> Scene:
    generator = torch.Generator().manual_seed(seed)
    return replace(scene, student=garbled(scene.student, scene.tasks, generator))


def _with_teacher(scene: Scene, name: str, seed: int) -> Scene:
    said = garbled(scene.teachers[name], scene.tasks, torch.Generator().manual_seed(seed))
    return replace(scene, teachers={**scene.teachers, name: said})


def agreeing(loss: Loss, scene: Scene) -> Scene | None:
    """The scene with a student that says what the term's teacher says; None where it cannot."""
    needs = loss.config.teacher_needs()
    names = {need.teacher for need in needs}
    if len(names) != 1:
        return None
    own, taught = parts_of(scene.student, scene.tasks), parts_of(scene.teachers[names.pop()], scene.tasks)
    asked = {f"logits.{task}" for need in needs for task in need.tasks}
    asked |= {f"pooled.{need.modality}" for need in needs if need.pooled}
    asked |= {f"hidden.{need.modality}.{layer}" for need in needs for layer in need.layers}
    equal = {name for name in own.keys() & taught.keys() if own[name].values.shape == taught[name].values.shape}
    if not asked <= equal:
        return None
    values = {name: _copied(part, taught[name]) if name in equal else part.values for name, part in own.items()}
    return replace(scene, student=with_values(scene.student, values))


def _copied(own: Part, taught: Part) -> Tensor:
    both = own.mask & taught.mask
    return torch.where(both.view(*both.shape, *[1] * (own.values.ndim - both.ndim)), taught.values, own.values)
