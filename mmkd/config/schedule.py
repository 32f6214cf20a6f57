"""Schedules of a weight or a temperature over the run, as functions of the share of steps done."""

import math
from typing import Annotated, Literal

from pydantic import Field

from mmkd.config.section import Section


class Schedule(Section):
    """A value that moves from `from` at the first step to `to` at the last, along a line or half a cosine."""

    kind: Literal["linear", "cosine"]
    start: Annotated[float, Field(alias="from", ge=0)]
    end: Annotated[float, Field(alias="to", ge=0)]

    def at(self, progress: float) -> float:
        """Value after the fraction `progress` (0 to 1) of the run's steps."""
        share = progress if self.kind == "linear" else (1 - math.cos(math.pi * progress)) / 2
        return self.start + (self.end - self.start) * share


Coefficient = Annotated[float, Field(ge=0)] | Schedule


def value_at(coefficient: float | Schedule, progress: float) -> float:
    """The coefficient after the fraction `progress` (0 to 1) of the run's steps."""
    return coefficient.at(progress) if isinstance(coefficient, Schedule) else coefficient
