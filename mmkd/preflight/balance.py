"""The weighting: every group's gradient arrives, what stands outside is simply added, and nothing else moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmkd.objective import Objective
from mmkd.preflight.found import Finding, Report
from mmkd.weighting.base import Weighting

ADDED = 1e-3
"""Largest difference to a gradient that is simply added, relative to its largest entry: rounding in float32."""

WHOLE, FINITE, STILL = (
    "weighting passes on every group and the rest",
    "weighting leaves finite gradients",
    "weighting moves no network, and no gradient reaches a teacher",
)
Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Step:
    """A real step before the weighting's part in it, on copies of what trains.

    learns: the parameters that train, by name, of the student, the terms and the weighting. shared, representation: as
    the loop gives them. teachers: modules by name.
    """

    objective: Objective
    learns: Mapping[str, nn.Parameter]
    shared: Sequence[nn.Parameter]
    representation: Sequence[Tensor]
    teachers: Mapping[str, nn.Module]


def check_weighting(who: str, weighting: Weighting, step: Step, report: Report) -> None:
    """All that a weighting promises of one step."""
    by_task, rest = step.objective.by_task, step.objective.rest
    if not by_task and rest is None:
        report.leave_out(WHOLE, who, "no row of the batch has what a term needs")
        return
    own = {group: _gradients(loss, step.learns) for group, loss in by_task.items()}
    outside = {} if rest is None else _gradients(rest, step.learns)
    theirs = {id(parameter) for parameter in weighting.parameters()}
    kept = {name: p.detach().clone() for name, p in step.learns.items() if id(p) not in theirs}
    taught = {name: [p.detach().clone() for p in module.parameters()] for name, module in step.teachers.items()}
    weights = weighting.backward(by_task, rest, step.shared, step.representation)
    gradients = {name: p.grad for name, p in step.learns.items() if p.grad is not None}
    report.add(WHOLE, who, [*_dropped(who, weights, own, outside, gradients), *_rest(who, own, outside, gradients)])
    report.add(FINITE, who, _wild(who, weights, gradients))
    moved = [f"`{name}` of what trains" for name, before in kept.items() if not step.learns[name].equal(before)]
    for name, before in taught.items():
        now = list(step.teachers[name].parameters())
        if any(p.grad is not None for p in now) or not all(p.equal(b) for p, b in zip(now, before, strict=True)):
            moved.append(f"the teacher `{name}`")
    advice = "fill `.grad` of what trains, and leave the step to the optimizer"
    expected = "networks as they were, and gradients of what trains alone"
    found = [
        Finding(who, f"its `backward` changes {each}, or leaves a gradient there", expected, advice) for each in moved
    ]
    report.add(STILL, who, found[:1])


def _gradients(loss: Tensor, learns: Mapping[str, nn.Parameter]) -> Gradients:
    """By name, of the parameters on which the loss depends with a slope that is not 0."""
    found = torch.autograd.grad(loss, list(learns.values()), retain_graph=True, allow_unused=True)
    return {name: g for name, g in zip(learns, found, strict=True) if g is not None and g.any()}


def _dropped(
    who: str, weights: Mapping[str, float], own: Mapping[str, Gradients], outside: Gradients, gradients: Gradients
) -> Iterator[Finding]:
    if weights.keys() != own.keys():
        found = f"returns weights of {', '.join(sorted(weights)) or 'no group'}"
        advice = "return the weight of each group of `by_task`, and of no other"
        yield Finding(who, found, f"of {', '.join(sorted(own)) or 'no group'}", advice)
    for group, mine in own.items():
        others = {*outside, *(name for other, theirs in own.items() if other != group for name in theirs)}
        alone = [name for name in mine if name not in others]
        if alone and weights.get(group) != 0 and not any(n in gradients and gradients[n].any() for n in alone):
            found = f"the group `{group}` has a weight, and no gradient reaches `{alone[0]}`, which it alone trains"
            yield Finding(who, found, "a gradient", "call `backward` on a sum that has every group in it")


def _rest(who: str, own: Mapping[str, Gradients], outside: Gradients, gradients: Gradients) -> Iterator[Finding]:
    for name, expected in outside.items():
        if any(name in mine for mine in own.values()):
            continue
        found = gradients.get(name, torch.zeros_like(expected))
        if not float((found - expected).abs().max()) <= ADDED * float(expected.abs().max()):
            text = f"the gradient of `{name}`, which only terms outside every group train, is not that of these terms"
            yield Finding(who, text, "`rest` simply added", "add `rest` to the loss as it is")
            return


def _wild(who: str, weights: Mapping[str, float], gradients: Gradients) -> Iterator[Finding]:
    wild = [f"the weight of `{name}` is {value}" for name, value in weights.items() if not abs(value) < float("inf")]
    wild += [f"the gradient of `{name}` is not finite" for name, g in gradients.items() if not g.isfinite().all()]
    if wild:
        advice = "guard quotients and roots against losses and gradients of 0"
        yield Finding(who, f"{wild[0]}, though every term is finite", "finite numbers", advice)
