"""Algorithm 1 of 2306.03792, with L(t + 1) from the next batch that has the task."""

from __future__ import annotations

import math

from conformance.weightings_found import Step

CASES = {"default": {}, "fast": {"lr": 1.0, "decay": 0.1}}


def formula(config, steps: list[Step]) -> list[dict[str, float]]:
    """The Jacobian of the softmax, entry by entry: dz_i / dx_j = z_i (1 if i = j else 0) - z_i z_j."""
    x = {f"task{n}": 0.0 for n in range(3)}
    last: dict[str, float] = {}
    found = []
    for step in steps:
        known = [task for task in step.losses if task in last]
        total = sum(math.exp(x[task]) for task in known)
        z = {task: math.exp(x[task]) / total for task in known}
        change = {
            j: sum((z[i] * ((i == j) - z[j])) * (math.log(last[i]) - math.log(step.losses[i])) for i in known)
            for j in known
        }
        for task in known:
            x[task] -= config.lr * (change[task] + config.decay * x[task])
        total = sum(math.exp(x[task]) for task in step.losses)
        c = 1 / sum(math.exp(x[task]) / total / loss for task, loss in step.losses.items())
        found.append({task: c * math.exp(x[task]) / total / loss for task, loss in step.losses.items()})
        last |= step.losses
    return found
