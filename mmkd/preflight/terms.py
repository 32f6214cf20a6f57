"""The terms: what each gives on a real batch, and on the same batch changed where nothing may depend on it.

The student's and the teachers' outputs are cut off from the networks, so that a term is asked some ten times in the
time of one step. Each time a copy of it is asked: a term may keep a memory.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from mmkd.losses.base import Loss
from mmkd.objective import present
from mmkd.preflight.found import Finding, Report
from mmkd.preflight.parts import with_leaves
from mmkd.preflight.scene import Scene, agreeing, covers, said_otherwise
from mmkd.types import Outputs

VALUE, GRADIENT = 1e-4, 1e-3
"""Largest difference of a value and, relative to the largest entry, of a gradient: another order of the rows is summed
in another order, in float32, and a term may divide by differences of such sums."""
SMALLEST = 1e-6
"""Below, a value or an entry of a gradient is 0, as rounding leaves it."""
ZERO = 1e-2
"""What a root leaves of the gradient's size where a distance is 0, in float32."""

FINITE, TAUGHT, LEARNS, RANDOM, MASKS, ORDER, AGREES = (
    "term is a finite number",
    "no gradient into a teacher",
    "a gradient to the student",
    "random numbers only where it says so",
    "masked places, labels and padding change no term",
    "the order of rows changes no term",
    "zero where student and teacher agree, if it claims so",
)


@dataclass(frozen=True)
class Told:
    """What a term gave. gradients: by part of the student, those that it depends on. taught: of the teachers'."""

    value: Tensor
    gradients: dict[str, Tensor] = field(default_factory=dict)
    taught: tuple[str, ...] = ()


def tell(loss: Loss, scene: Scene, seed: int) -> Told:
    """Ask a copy of the term. seed: of torch's random state."""
    own = copy.deepcopy(loss)
    student, leaves = with_leaves(scene.student, scene.tasks)
    teachers: dict[str, Outputs] = {}
    taught: dict[str, Tensor] = {}
    for name, said in scene.teachers.items():
        teachers[name], parts = with_leaves(said, scene.tasks)
        taught |= {f"{part} of the teacher `{name}`": leaf for part, leaf in parts.items()}
    torch.manual_seed(seed)
    value = own(student, teachers, scene.batch)
    if not value.requires_grad or value.ndim:
        return Told(value.detach())
    found = torch.autograd.grad(value, [*leaves.values(), *taught.values()], allow_unused=True)
    gradients = {name: g for name, g in zip(leaves, found, strict=False) if g is not None}
    reached = [name for name, g in zip(taught, found[len(leaves) :], strict=True) if g is not None]
    return Told(value.detach(), gradients, tuple(reached))


def check_term(who: str, loss: Loss, scene: Scene, seed: int, report: Report) -> None:
    """All that a term promises. seed: of what is drawn, by the term or in place of what means nothing."""
    task = loss.config.group
    if task is not None and not present(loss, task, scene.student, scene.teachers, scene.batch):
        report.leave_out(FINITE, who, "no row of the batch has what it needs")
        return
    plain = tell(loss, scene, seed)
    if not report.add(FINITE, who, _unusable(who, loss, scene, plain, seed)):
        return
    report.add(TAUGHT, who, _leaks(who, plain))
    if not report.add(LEARNS, who, _teaches_nothing(who, loss, scene, plain, seed)):
        return
    if not report.add(RANDOM, who, _random(who, loss, scene, plain, seed)):
        return
    report.add(MASKS, who, _reads_what_is_absent(who, loss, scene, plain, seed))
    if loss.config.draws:
        report.leave_out(ORDER, who, "draws random numbers by the place in the batch")
    else:
        report.add(ORDER, who, _goes_by_place(who, loss, scene, plain, seed))
    if loss.config.zero_where_equal:
        equal = agreeing(loss, scene)
        if equal is None:
            report.leave_out(AGREES, who, "the student cannot say what its teacher says: they differ in width")
        else:
            report.add(AGREES, who, _differs_from_zero(who, tell(loss, equal, seed), plain))


def _unusable(who: str, loss: Loss, scene: Scene, plain: Told, seed: int) -> Iterator[Finding]:
    if plain.value.ndim or not plain.value.is_floating_point():
        found = f"gives a tensor of the shape {list(plain.value.shape)} and type {plain.value.dtype}"
        yield Finding(who, found, "one number", "take the mean over the rows")
        return
    if not plain.value.isfinite() or not all(g.isfinite().all() for g in plain.gradients.values()):
        what = "its gradient is not finite" if plain.value.isfinite() else f"gives {float(plain.value)}"
        alone = {sample: tell(loss, scene.rows([row]), seed) for row, sample in enumerate(scene.batch.ids)}
        bad = [sample for sample, told in alone.items() if not _is_finite(told)]
        where = f"already on these rows alone: {', '.join(bad)}" if bad else "on no row alone"
        advice = "look for a logarithm, a root or a quotient of 0, and for rows without what the term reads"
        yield Finding(who, f"{what}, {where}", "a finite number on every batch", advice)


def _is_finite(told: Told) -> bool:
    return bool(told.value.isfinite().all()) and all(bool(g.isfinite().all()) for g in told.gradients.values())


def _leaks(who: str, plain: Told) -> Iterator[Finding]:
    if plain.taught:
        advice = "use `.detach()` on what a teacher says"
        yield Finding(who, f"has a gradient to {plain.taught[0]}", "none to any teacher", advice)


def _teaches_nothing(who: str, loss: Loss, scene: Scene, plain: Told, seed: int) -> Iterator[Finding]:
    if not plain.gradients:
        advice = "look for `.detach()`, `.data`, `argmax` or `no_grad` on the way from the student to the value"
        yield Finding(who, "has no gradient to anything that the student says", "one", advice)
    elif _largest(plain) <= SMALLEST and all(_is_still(each, scene, seed) for each in (loss, _late(loss, scene))):
        advice = "give it more to compare: a map of one position, or one class, is the same for every student"
        yield Finding(who, f"is {float(plain.value):.3g} whatever the student says", "one that it can lower", advice)


def _largest(told: Told) -> float:
    """The largest entry of the gradients."""
    return max((float(g.abs().max()) for g in told.gradients.values() if g.numel()), default=0.0)


def _is_still(loss: Loss, scene: Scene, seed: int) -> bool:
    """Whether the value stays when the student says something else."""
    return same_value(tell(loss, scene, seed), tell(loss, said_otherwise(scene, seed), seed))


def _late(loss: Loss, scene: Scene) -> Loss:
    """The term as it is at the end of the run, when it has seen the batch: it may look on for a while at first."""
    late = copy.deepcopy(loss)
    with torch.no_grad():
        late(scene.student, scene.teachers, scene.batch)
    late.progress = 1.0
    return late


def _random(who: str, loss: Loss, scene: Scene, plain: Told, seed: int) -> Iterator[Finding]:
    if not same_numbers(plain, tell(loss, scene, seed)):
        found = "gives two values for the same batch and the same state of torch's random numbers"
        yield Finding(who, found, "one", "draw from torch's generator alone: no run could be repeated otherwise")
    elif not loss.config.draws and not same_numbers(plain, tell(loss, scene, seed + 1)):
        advice = "say `draws: ClassVar[bool] = True` in its Config if it is meant to, and look for dropout otherwise"
        yield Finding(who, "depends on torch's random state", "no random number, as `draws` says", advice)


def _reads_what_is_absent(who: str, loss: Loss, scene: Scene, plain: Told, seed: int) -> Iterator[Finding]:
    """All at once; where it matters, each by itself, to name it."""
    ways = list(covers(scene, seed, widen=not loss.config.draws))
    changed = scene
    for _, cover in ways:
        changed = cover(changed)
    told = tell(loss, changed, seed)
    if same_numbers(plain, told):
        return
    alone = [(name, tell(loss, cover(scene), seed)) for name, cover in ways]
    guilty = [(name, each) for name, each in alone if not same_numbers(plain, each)] or [("all of it together", told)]
    for name, each in guilty:
        found = f"{name}: the value goes from {float(plain.value):.6g} to {float(each.value):.6g}"
        if same_value(plain, each):
            found = f"{name}: the gradient changes"
        advice = "choose the rows by their masks (`rows_of`, `labelled_rows`, `has`), and divide by their number"
        yield Finding(who, f"depends on {found}", "no change in value and gradient", advice)


def _goes_by_place(who: str, loss: Loss, scene: Scene, plain: Told, seed: int) -> Iterator[Finding]:
    order = torch.randperm(len(scene.batch.ids), generator=torch.Generator().manual_seed(seed)).tolist()
    turned = tell(loss, scene.rows(order), seed)
    expected = replace(plain, gradients={n: gradient[order] for n, gradient in plain.gradients.items()})
    if not same_numbers(expected, turned):
        found = f"goes from {float(plain.value):.6g} to {float(turned.value):.6g}, or its gradient does not follow"
        advice = "let every row count alike, and pair what belongs to one row"
        yield Finding(who, f"with the rows in another order {found}", "the same", advice)


def _differs_from_zero(who: str, equal: Told, plain: Told) -> Iterator[Finding]:
    largest, usual = _largest(equal), _largest(plain)
    if abs(float(equal.value)) > max(VALUE * abs(float(plain.value)), VALUE) or largest > max(ZERO * usual, SMALLEST):
        found = f"where the student says what its teacher says, the value is {float(equal.value):.3g}"
        advice = "look for a missing entropy of the teacher, or say nothing of `zero_where_equal` in its Config"
        yield Finding(who, f"{found} and its gradient up to {largest:.3g}", "0 and 0, as it claims", advice)


def same_numbers(one: Told, other: Told) -> bool:
    """Whether value and gradients are equal up to rounding; the other may be padded further."""
    if not same_value(one, other) or one.gradients.keys() != other.gradients.keys():
        return False
    for name, gradient in one.gradients.items():
        found, limit = other.gradients[name], SMALLEST
        if gradient.shape != found.shape:
            found = found[:, : gradient.shape[1]]
        if gradient.numel():
            limit = max(limit, GRADIENT * float(gradient.abs().max()))
            if not float((gradient - found).abs().max()) <= limit:
                return False
    return True


def same_value(one: Told, other: Told) -> bool:
    """Whether the values are equal up to rounding."""
    value = float(one.value)
    return abs(value - float(other.value)) <= max(VALUE * abs(value), SMALLEST)
