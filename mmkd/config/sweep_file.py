"""The sweep file: an experiment, what to vary in it, and how to search. No torch and no Ray here."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, model_validator

from mmkd.config.section import NonNegativeFloat, PositiveInt, Section

Pair = Annotated[tuple[float, float], Strict(False)]
IntegerPair = Annotated[tuple[int, int], Strict(False)]


class Domain(Section):
    """Values that one key of the experiment can take: exactly one of these.

    uniform, log_uniform: a number between two bounds. integer: a whole number, both bounds included.
    choice: one of these values.
    """

    uniform: Pair | None = None
    log_uniform: Pair | None = None
    integer: IntegerPair | None = None
    choice: Annotated[tuple[Any, ...], Strict(False), Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"found {given or 'none'}; expected one of uniform, log_uniform, integer, choice")
        bounds = self.uniform or self.log_uniform or self.integer
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"found {list(bounds)}; expected [low, high] with low < high")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"found {list(self.log_uniform)}; a log_uniform needs bounds above 0")
        return self

    def examples(self) -> tuple[Any, ...]:
        """Values that stand for all: every choice, or both bounds."""
        return self.choice or self.uniform or self.log_uniform or self.integer or ()


class Objective(Section):
    """What the sweep makes large. Selection sees validation only, so the score is one of its.

    maximize: `validation.mean_score`, or `validation.<task>.<metric>`; read at the epoch that the run keeps.
    """

    maximize: Annotated[str, Field(pattern=r"^validation\.[A-Za-z0-9_.]+$")] = "validation.mean_score"


class Search(Section):
    """How the next trial is chosen. seed: of the search itself."""

    kind: Literal["random", "optuna"] = "optuna"
    seed: Annotated[int, Field(ge=0)] = 0


class StopEarly(Section):
    """Asynchronous successive halving (ASHA, 1810.05934): a trial that lags at a rung is stopped.

    grace_epochs: the first rung. reduction: the share 1/reduction of the trials goes on from a rung to the next,
    which is reduction times later.
    """

    kind: Literal["asha"] = "asha"
    grace_epochs: PositiveInt = 1
    reduction: Annotated[int, Field(ge=2)] = 3


class PerTrial(Section):
    """What one trial occupies. cpus is also its number of threads, since sums depend on it in the last digit."""

    cpus: PositiveInt = 1
    gpus: NonNegativeFloat = 0.0


class Sweep(Section):
    """A sweep: every trial is the experiment with overrides, and can be printed as one `mmkd run` command.

    experiment: path of the experiment file, relative to the sweep file. seed: of every trial's run.
    """

    experiment: str
    objective: Objective = Objective()
    trials: PositiveInt
    seed: Annotated[int, Field(ge=0)] = 0
    search: Search = Search()
    stop_early: StopEarly | None = None
    per_trial: PerTrial = PerTrial()
    space: Annotated[dict[str, Domain], Field(min_length=1)]
