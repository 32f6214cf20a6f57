"""K softmax(L(t - 1) / L(t - 2) / T) (1803.10704, eq. 7)."""

from __future__ import annotations

import math

from conformance.weightings_found import Step

CASES = {"default": {}, "cold": {"temperature": 0.3}}


def formula(config, steps: list[Step]) -> list[dict[str, float]]:
    """Means of each epoch in which a task occurred; the rate is 1 before there are two."""
    means: dict[str, list[float]] = {f"task{n}": [] for n in range(3)}
    current: dict[str, list[float]] = {}
    found = []
    for step in steps:
        rates = {task: means[task][-1] / means[task][-2] if len(means[task]) > 1 else 1.0 for task in step.losses}
        total = sum(math.exp(rate / config.temperature) for rate in rates.values())
        found.append({task: len(rates) * math.exp(rate / config.temperature) / total for task, rate in rates.items()})
        for task, loss in step.losses.items():
            current.setdefault(task, []).append(loss)
        if step.ends_epoch:
            for task, losses in current.items():
                means[task].append(sum(losses) / len(losses))
            current = {}
    return found
