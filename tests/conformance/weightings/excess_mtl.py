"""Weights by relative excess risk (He et al. 2024, eq. 6, 7 and 9)."""

from __future__ import annotations

import math

from conformance.weightings_found import Step

CASES = {"default": {}, "fast": {"lr": 1.0}}
HEADS = "own"
EQUAL = 1 / 3  # in the first step, where each relative excess is 1


def formula(config, steps: list[Step]) -> list[dict[str, float]]:
    """Unnormalised weights; what an absent task's weighs beside the others' stays."""
    weight = {f"task{n}": 1.0 for n in range(3)}
    squares: dict[str, list[float]] = {}
    first: dict[str, float] = {}
    found = []
    for step in steps:
        before = sum(weight[task] for task in step.losses)
        for task, gradient in step.gradients.items():
            old = squares.get(task, [0.0] * len(gradient))
            squares[task] = [a + g * g for a, g in zip(old, gradient, strict=True)]
            excess = sum(g * g / math.sqrt(h) for g, h in zip(gradient, squares[task], strict=True))
            first.setdefault(task, excess)
            weight[task] *= math.exp(config.lr * excess / first[task])
        after = sum(weight[task] for task in step.losses)
        for task in step.losses:
            weight[task] *= before / after
        found.append({task: weight[task] / before for task in step.losses})
    return found
