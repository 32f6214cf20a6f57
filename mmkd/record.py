"""The run record: one JSON file per run and seed, from which every table follows. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Score:
    """One metric on one split. value: a fraction unless the metric says otherwise; n: examples or words behind it."""

    value: float
    n: int
    direction: Literal["maximize", "minimize"] = "maximize"
