"""Who is to blame for an inf or a NaN: one batch of a step is computed again, and looked at layer by layer.

The first that is not finite counts, in the order in which numbers arise: what a teacher says, what a layer of the
student puts out, a term, a term's gradient on its way back through the layers, a weighting's weight.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from mmkd.calls import Calls, bad_rows, mapped, watched
from mmkd.losses.base import Loss
from mmkd.objective import NonFinite, Objective, Terms, output_values
from mmkd.teachers.base import Speaker, Teacher
from mmkd.types import Batch, Outputs
from mmkd.weighting.base import Weighting


@dataclass(frozen=True)
class Moment:
    """One batch of a step. said: by teacher. done: share of the run's steps before it. seed: of its random numbers."""

    batch: Batch
    said: Mapping[str, Outputs]
    done: float
    step: int
    seed: int


@dataclass(frozen=True)
class Culprit:
    """what: the term, the teacher's or the student's output, or the weight. layer: the first that is not finite.

    ids: of the samples that show it; those of the whole batch where it cannot be told.
    """

    what: str
    layer: str | None
    ids: tuple[str, ...]


def shown(moment: Moment, found: Culprit) -> str:
    """The culprit in words, with its step and samples."""
    layer = "" if found.layer is None else f", first in {found.layer}"
    return f"step {moment.step}: {found.what} is not finite{layer}; samples {', '.join(found.ids)}"


@dataclass
class Search:
    """Looks for the culprit among the players of a training. speak: the network's passes, as training has them."""

    network: nn.Module
    terms: Terms
    weighting: Weighting
    teachers: Mapping[str, Speaker]
    speak: Callable[[Batch], Outputs]

    @property
    def trainees(self) -> nn.Module:
        """All that trains."""
        return nn.ModuleList([self.network, self.terms, self.weighting])

    def named(self, moment: Moment, error: NonFinite) -> str:
        """What was found, with whoever is to blame for it where that can be told."""
        found = self.culprit(moment)
        return str(error) if found is None else shown(moment, found)

    def culprit(self, moment: Moment) -> Culprit | None:
        """Compute the batch again; None when all is finite."""
        with torch.compiler.set_stance("force_eager"), torch.random.fork_rng():
            torch.manual_seed(moment.seed)
            return self._of_teachers(moment) or self._of_student(moment)

    def _of_teachers(self, moment: Moment) -> Culprit | None:
        for name, outputs in moment.said.items():
            for output, values, mask in output_values(outputs):
                rows = bad_rows(values, mask)
                if rows:
                    teacher = self.teachers.get(name)
                    cached = "" if isinstance(teacher, Teacher) else " (from its cache or file)"
                    layer = self._layer_of(teacher, moment.batch) if isinstance(teacher, Teacher) else None
                    return Culprit(f"teacher {name}: {output}{cached}", layer, ids_of(moment.batch, rows))
        return None

    @torch.no_grad()
    def _layer_of(self, teacher: Teacher, batch: Batch) -> str | None:
        try:
            with watched(teacher) as calls:
                teacher(batch)
        except (RuntimeError, KeyError):  # it speaks in a process or on a device of its own
            return None
        return next((each.name for each in calls.done if each.value), None)

    def _of_student(self, moment: Moment) -> Culprit | None:
        batch = moment.batch
        with watched(self.network) as calls, watched(self.terms) as after:
            student = self.speak(batch)
            for output, values, mask in output_values(student):
                rows = bad_rows(values, mask)
                if rows:
                    first = next((each for each in calls.done if each.value), None)
                    layer = None if first is None else self._with_weights(first.name)
                    return Culprit(f"student: {output}", layer, ids_of(batch, rows))
            try:
                objective = self.terms(student, moment.said, batch, moment.done, moment.step)
            except NonFinite:
                return self._of_terms(moment, student, after)
            return self._of_gradients(objective, moment, calls) or self._of_weighting(objective, moment, student)

    def _with_weights(self, name: str) -> str:
        module = self.network.get_submodule(name) if name else self.network
        bad = [own for own, p in module.named_parameters(recurse=False) if not bool(p.isfinite().all())]
        return f"{name}, whose {bad[0]} is not finite already" if bad else name

    def _of_terms(self, moment: Moment, student: Outputs, calls: Calls) -> Culprit | None:
        for name, loss in self.terms.losses.items():
            assert isinstance(loss, Loss)
            value = copy.deepcopy(loss)(detached(student), moment.said, moment.batch)
            if not bool(value.isfinite().all()):
                inside = (each.name for each in calls.done if each.value and each.name.startswith(f"losses.{name}."))
                return Culprit(f"losses.{name}", next(inside, None), self._rows_of_term(loss, moment, student))
        return None

    @torch.no_grad()
    def _rows_of_term(self, loss: Loss, moment: Moment, student: Outputs) -> tuple[str, ...]:
        batch, said = moment.batch, dict(moment.said)
        count, found = len(batch.ids), []
        for row in range(count):
            one = replace(only(batch, row, count), ids=batch.ids[row : row + 1])
            try:
                value = copy.deepcopy(loss)(only(student, row, count), only(said, row, count), one)
            except FAILS_ALONE:
                continue
            if not bool(value.isfinite().all()):
                found.append(row)
        return ids_of(batch, set(found))

    def _of_gradients(self, objective: Objective, moment: Moment, calls: Calls) -> Culprit | None:
        parameters = {name: p for name, p in self.trainees.named_parameters() if p.requires_grad}
        for name, term in objective.terms.items():
            if not term.requires_grad:
                continue
            calls.forget_gradients()
            found = torch.autograd.grad(term, list(parameters.values()), retain_graph=True, allow_unused=True)
            bad = {id(p) for p, g in zip(parameters.values(), found, strict=True) if g is not None and not finite(g)}
            if bad:
                where, rows = self._way_back(calls, bad)
                return Culprit(f"the gradient of losses.{name}", where, ids_of(moment.batch, rows))
        return None

    def _way_back(self, calls: Calls, bad: set[int]) -> tuple[str | None, set[int]]:
        """The layer that the gradient enters finite and leaves otherwise; or where it first arrives so."""
        modules = dict(self.network.named_modules())
        for call in calls.begun:
            own = modules[call.name].named_parameters(recurse=False)
            call.own = [name for name, parameter in own if id(parameter) in bad]
        for call in reversed(calls.begun):  # a module begins before those inside it
            if not call.out and (call.into or call.own):
                suffix = f" ({call.own[0]})" if call.own and not call.into else ""
                return f"{call.name or 'the network'}{suffix}", call.into
        last = next((call for call in reversed(calls.begun) if call.out), None)
        return (None, set()) if last is None else (f"what follows {last.name or 'the network'}", last.out)

    def _of_weighting(self, objective: Objective, moment: Moment, student: Outputs) -> Culprit | None:
        """By a copy's pass; the gradients at hand are left as they are."""
        held = [(p, p.grad) for p in self.trainees.parameters()]
        before = copy.deepcopy(self.weighting)
        shared = [p for n, p in self.network.named_parameters() if not n.startswith("heads.") and p.requires_grad]
        representation = [student.fused] if student.fused is not None else []
        for parameter, _ in held:
            parameter.grad = None
        try:
            weights = before.backward(objective.by_task, objective.rest, shared, representation)
            wrong = [task for task, weight in weights.items() if not math.isfinite(weight)]
            bad = [n for n, p in self.trainees.named_parameters() if p.grad is not None and not finite(p.grad)]
        except FAILS_ALONE:
            return None
        finally:
            for parameter, gradient in held:
                parameter.grad = gradient
        if wrong:
            return Culprit(f"weighting {self.weighting.config.kind}: the weight of {wrong[0]}", None, moment.batch.ids)
        if bad:
            text = f"weighting {self.weighting.config.kind}: the gradient that it gives"
            return Culprit(text, bad[0].partition(".")[2], moment.batch.ids)
        return None


FAILS_ALONE = (RuntimeError, ValueError, ArithmeticError, IndexError)
"""What a term of pairs may raise about one row, and a weighting's solver about numbers that are not finite."""


def finite(values: Tensor) -> bool:
    """Whether every number is."""
    return bool(values.isfinite().all())


def ids_of(batch: Batch, rows: set[int]) -> tuple[str, ...]:
    """Sample ids of these rows; of all where there are none, or where they are no rows of the batch."""
    if not rows or max(rows) >= len(batch.ids):
        return batch.ids
    return tuple(batch.ids[row] for row in sorted(rows))


def only(value: Any, row: int, count: int) -> Any:
    """A batch or outputs, of one of `count` rows."""
    return mapped(value, lambda tensor: tensor[row : row + 1] if tensor.ndim and len(tensor) == count else tensor)


def detached(value: Any) -> Any:
    """A batch or outputs, without a graph."""
    return mapped(value, Tensor.detach)
