"""Algorithm 1 of 1711.02257."""

from __future__ import annotations

import math

from conformance.weightings_found import Step

CASES = {"default": {}, "even": {"alpha": 0.0, "lr": 0.1}}


def formula(config, steps: list[Step]) -> list[dict[str, float]]:
    """Plain descent on sum |w g - mean(w g) r^alpha|, the second part constant, and the sum of weights kept."""
    w = {f"task{n}": 1.0 for n in range(3)}
    first: dict[str, float] = {}
    found = []
    for step in steps:
        found.append({task: w[task] for task in step.losses})
        norms = {task: math.sqrt(sum(x * x for x in gradient)) for task, gradient in step.gradients.items()}
        for task, loss in step.losses.items():
            first.setdefault(task, loss)
        ratios = {task: loss / first[task] for task, loss in step.losses.items()}
        mean_ratio = sum(ratios.values()) / len(ratios)
        mean_norm = sum(w[task] * norms[task] for task in norms) / len(norms)
        moved = {}
        for task, norm in norms.items():
            difference = w[task] * norm - mean_norm * (ratios[task] / mean_ratio) ** config.alpha
            if abs(difference) < 1e-12:  # one task alone, or all equal: at its target
                difference = 0.0
            sign = (difference > 0) - (difference < 0)
            moved[task] = max(w[task] - config.lr * sign * norm, 1e-3)
        before = sum(w[task] for task in norms)
        w |= {task: value * before / sum(moved.values()) for task, value in moved.items()}
    return found
