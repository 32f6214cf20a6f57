"""Log-losses, smoothed gradients of one length (2308.12029, algorithm 1)."""

from __future__ import annotations

import math

from conformance.weightings_found import Step

CASES = {"default": {}, "steady": {"beta": 0.5, "decay": 0.0}, "without_memory": {"beta": 0.0}}
HEADS = "log"
ALONE = None  # 1 / its loss, smoothed


def formula(config, steps: list[Step]) -> list[dict[str, float]]:
    """Of the gradients of this step alone."""
    return [weights for weights, _ in run(config, steps)]


def updates(config, steps: list[Step]) -> list[list[float]]:
    """With what is smoothed from before."""
    return [update for _, update in run(config, steps)]


def run(config, steps: list[Step]):
    kept: dict[str, list[float]] = {}
    seen: dict[str, int] = {}
    for step in steps:
        width = len(next(iter(step.gradients.values())))
        share = {}
        for task, loss in step.losses.items():
            seen[task] = seen.get(task, 0) + 1
            share[task] = config.beta / seen[task] ** config.decay
            old = kept.get(task, [0.0] * width)
            kept[task] = [
                share[task] * a + (1 - share[task]) * b / (loss + 1e-8)
                for a, b in zip(old, step.gradients[task], strict=True)
            ]
        norms = {task: math.sqrt(sum(x * x for x in kept[task])) for task in step.losses}
        longest = max(norms.values())
        update = [sum(longest / norms[task] * kept[task][n] for task in step.losses) for n in range(width)]
        weights = {
            task: longest / norms[task] * (1 - share[task]) / (loss + 1e-8) for task, loss in step.losses.items()
        }
        yield weights, update
