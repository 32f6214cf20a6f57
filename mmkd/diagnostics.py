"""What the terms do to what the student shares: a look at a batch now and then, which changes nothing in the run.

Gradients are those of the terms with their coefficients, at the shared parameters (encoders and fusion), before the
weighting. The cosine of two tasks' gradients is below 0 where they pull against each other (2001.06782, definition 1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import torch
from torch import Tensor, nn

from mmkd.objective import Objective
from mmkd.tasks.base import Task
from mmkd.types import Batch, Outputs, rows_of

Numbers = dict[str, dict[str, float]]
SMALLEST_PRODUCT = 1e-30
"""Of two gradients' norms: with less, one of them is none, and the cosine is 0."""


@dataclass
class Diagnostics:
    """Means over the batches that were looked at, by sort and name.

    gradient_norm: of each term, by its name. cosine: of two tasks' gradients, as `ner-risk`. agreement: share of the
    rows on which student and teacher name the same class, and entropy: of the teacher's probabilities, in nats, both
    as `teacher.task`, for tasks over classes.
    """

    sums: Numbers = field(default_factory=dict)
    counts: dict[str, dict[str, int]] = field(default_factory=dict)

    def look(
        self,
        objective: Objective,
        shared: Sequence[nn.Parameter],
        student: Outputs,
        teachers: Mapping[str, Outputs],
        batch: Batch,
        tasks: Mapping[str, Task],
    ) -> None:
        """Take in a batch, whose graph is kept for the step."""
        norms, cosines = gradient_numbers(objective, shared)
        agreement, entropy = teacher_numbers(student, teachers, batch, tasks)
        found = {"gradient_norm": norms, "cosine": cosines, "agreement": agreement, "entropy": entropy}
        for sort, numbers in found.items():
            for name, value in numbers.items():
                sums, counts = self.sums.setdefault(sort, {}), self.counts.setdefault(sort, {})
                sums[name] = sums.get(name, 0.0) + value
                counts[name] = counts.get(name, 0) + 1

    def means(self) -> Numbers:
        """Mean over the batches in which a name occurred; empty when none was looked at."""
        return {s: {n: total / self.counts[s][n] for n, total in own.items()} for s, own in self.sums.items()}


def gradient_numbers(objective: Objective, shared: Sequence[nn.Parameter]) -> tuple[dict[str, float], dict[str, float]]:
    """Norm of each term's gradient at the shared parameters; cosine of each pair of groups, 0 where one has none."""
    norms: dict[str, Tensor] = {}
    by_group: dict[str, tuple[Tensor, ...]] = {}
    for name, term in objective.terms.items():
        found = torch.autograd.grad(term, shared, retain_graph=True, allow_unused=True, materialize_grads=True)
        norms[name] = torch.stack(torch._foreach_norm(found)).square().sum()
        group = objective.groups.get(name)
        if group is not None:
            before = by_group.get(group)
            by_group[group] = found if before is None else tuple(torch._foreach_add(before, found))
    squares = {name: inner(own, own) for name, own in by_group.items()}
    cosines = {
        f"{a}-{b}": inner(by_group[a], by_group[b]) / (squares[a] * squares[b]).sqrt().clamp(min=SMALLEST_PRODUCT)
        for a, b in combinations(by_group, 2)
    }
    return {name: float(square.sqrt()) for name, square in norms.items()}, {n: float(c) for n, c in cosines.items()}


def inner(one: Sequence[Tensor], other: Sequence[Tensor]) -> Tensor:
    """Inner product of two gradients, each in parts."""
    return torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in zip(one, other, strict=True)]).sum()


@torch.no_grad()
def teacher_numbers(
    student: Outputs, teachers: Mapping[str, Outputs], batch: Batch, tasks: Mapping[str, Task]
) -> tuple[dict[str, float], dict[str, float]]:
    """Agreement and entropy by `teacher.task`, over the rows on which both speak; none where there is no row."""
    agreement, entropy = {}, {}
    for who, teacher in teachers.items():
        for name, logits in teacher.logits.items():
            task = tasks[name]
            rows = rows_of(task.level, batch, student, teacher)
            if task.config.logits != "classes" or not rows.any():
                continue
            log_p = logits[rows].float().log_softmax(-1)
            same = student.logits[name][rows].argmax(-1) == log_p.argmax(-1)
            agreement[f"{who}.{name}"] = float(same.float().mean())
            entropy[f"{who}.{name}"] = float(-(log_p.exp() * log_p).sum(-1).mean())
    return agreement, entropy
