"""Schedules of a weight or a temperature over the run, as functions of the share of steps done."""

import math
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mmkd.config.section import Section


class Schedule(Section):
    """A value that moves from `from` at the first step to `to`: along a line, half a cosine, or all at once (`step`).

    until: share of the run's steps after which it is `to`, and stays; 1: at the last step. A warm-up is a line from 0
        until 0.1, say.
    """

    kind: Literal["linear", "cosine", "step"]
    start: Annotated[float, Field(alias="from", ge=0)]
    end: Annotated[float, Field(alias="to", ge=0)]
    until: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _step_within_the_run(self) -> Self:
        if self.kind == "step" and self.until == 1:
            raise ValueError("a step at the end of the run changes nothing; expected `until` below 1")
        return self

    def at(self, progress: float) -> float:
        """Value after the fraction `progress` (0 to 1) of the run's steps."""
        done = min(progress / self.until, 1.0)
        share = {"linear": done, "cosine": (1 - math.cos(math.pi * done)) / 2, "step": math.floor(done)}[self.kind]
        return self.start + (self.end - self.start) * share


def _above_zero(schedule: Schedule) -> Schedule:
    if min(schedule.start, schedule.end) == 0:
        raise ValueError("a temperature is above 0; expected `from` and `to` above 0")
    return schedule


Coefficient = Annotated[float, Field(ge=0)] | Schedule
Temperature = Annotated[float, Field(gt=0)] | Annotated[Schedule, AfterValidator(_above_zero)]


def value_at(coefficient: float | Schedule, progress: float) -> float:
    """The coefficient after the fraction `progress` (0 to 1) of the run's steps."""
    return coefficient.at(progress) if isinstance(coefficient, Schedule) else coefficient
