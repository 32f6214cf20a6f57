"""Derivatives of mu log sum exp(p (L - z) / mu) (2402.19078)."""

from __future__ import annotations

import math

from conformance.weightings_found import Step

CASES = {
    "default": {},
    "chosen": {"mu": 0.2, "preferences": {"task0": 2.0}, "reference": {"task1": 0.5, "task2": -0.1}},
}


def formula(config, steps: list[Step]) -> list[dict[str, float]]:
    """By finite differences of the objective itself, of fourth order."""

    def objective(losses: dict[str, float]) -> float:
        total = sum(config.preferences.get(task, 1.0) for task in losses)
        return config.mu * math.log(
            sum(
                math.exp(
                    config.preferences.get(task, 1.0) / total * (loss - config.reference.get(task, 0.0)) / config.mu
                )
                for task, loss in losses.items()
            )
        )

    def slope(losses: dict[str, float], task: str) -> float:
        near, far = (
            (objective({**losses, task: losses[task] + h}) - objective({**losses, task: losses[task] - h})) / (2 * h)
            for h in (1e-3, 2e-3)
        )
        return (4 * near - far) / 3

    return [{task: slope(step.losses, task) for task in step.losses} for step in steps]


RTOL = 1e-7
