"""Derivatives of (L_1 .. L_K)^(1 / K) (1904.08492)."""

from __future__ import annotations

import math

from conformance.weightings_found import Step


def formula(config, steps: list[Step]) -> list[dict[str, float]]:
    """The mean of all but one factor's powers: d/dL_k is the whole / (K L_k)."""
    found = []
    for step in steps:
        whole = math.prod(step.losses.values()) ** (1 / len(step.losses))
        found.append({task: whole / (len(step.losses) * loss) for task, loss in step.losses.items()})
    return found
