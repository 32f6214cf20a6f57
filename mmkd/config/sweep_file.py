"""The sweep file: an experiment, what to vary in it, and how to search. No torch and no Ray here.

Everything that a trial depends on stands in the file, and nothing else does: the machine, the number of trials at once
and the order in which they end change neither a trial's values nor its score.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, Strict, model_validator

from mmkd.config.section import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section

Pair = Annotated[tuple[float, float], Strict(False)]
IntegerPair = Annotated[tuple[int, int], Strict(False)]
Choices = Annotated[tuple[Any, ...], Strict(False), Field(min_length=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
AtLeastTwo = Annotated[int, Field(ge=2)]
Score = Annotated[str, Field(pattern=r"^validation\.(mean_score|[A-Za-z0-9_-]+\.[A-Za-z0-9_]+)$")]
Cost = Literal["parameters", "flops", "latency", "cache_bytes", "seconds"]


def _listed(value: Any) -> Any:
    """A value by itself stands for a list of it alone."""
    return value if isinstance(value, list | tuple) else [value]


OneOrMore = Annotated[Choices, BeforeValidator(_listed, json_schema_input_type=Any)]
Scores = Annotated[tuple[Score, ...], Strict(False), BeforeValidator(_listed, Score | tuple[Score, ...])]
Costs = Annotated[tuple[Cost, ...], Strict(False), BeforeValidator(_listed, Cost | tuple[Cost, ...])]


class Domain(Section):
    """Values that one key of the experiment can take: exactly one of uniform, log_uniform, integer, choice.

    uniform, log_uniform: a number between two bounds. integer: a whole number, both bounds included.
    choice: one of these values.
    points: how many values of an interval a grid tries, equally far apart (for log_uniform: by ratio), bounds included.
    when: keys above this one -> the values of theirs for which this key is varied at all; otherwise, the experiment's
        own value stands. So a kind's own parameters are varied with that kind alone.
    """

    uniform: Pair | None = None
    log_uniform: Pair | None = None
    integer: IntegerPair | None = None
    choice: Choices | None = None
    points: AtLeastTwo | None = None
    when: dict[str, OneOrMore] = {}

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        given = [name for name in ("uniform", "log_uniform", "integer", "choice") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"found {given or 'none'}; expected one of uniform, log_uniform, integer, choice")
        bounds = self.uniform or self.log_uniform or self.integer
        if bounds is not None and not bounds[0] < bounds[1]:
            raise ValueError(f"found {list(bounds)}; expected [low, high] with low < high")
        if self.log_uniform is not None and self.log_uniform[0] <= 0:
            raise ValueError(f"found {list(self.log_uniform)}; a log_uniform needs bounds above 0")
        if self.points is not None and self.uniform is None and self.log_uniform is None:
            raise ValueError(f"points: found {self.points}; only uniform and log_uniform are cut into points")
        return self

    def examples(self) -> tuple[Any, ...]:
        """Values that stand for all: every choice, or both bounds."""
        return self.choice or self.uniform or self.log_uniform or self.integer or ()


class Objective(Section):
    """What the sweep makes large and small. Selection sees validation only, so the scores are its.

    maximize: `validation.mean_score`, or `validation.<task>.<metric>`; read at the epoch that the run keeps.
    minimize: costs of the trained student: `parameters`; `flops` of one example; `latency`, milliseconds for one
        example on the trial's own machine; `cache_bytes` of its teachers; `seconds` of training and evaluation. Times
        are not the same again, so a search that they guide comes to other trials on another machine.
    Of several objectives, the best trials are those that no other one surpasses in all (the Pareto set).
    """

    maximize: Annotated[Scores, Field(min_length=1)] = ("validation.mean_score",)
    minimize: Costs = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, those to maximize first."""
        return (*self.maximize, *self.minimize)


class Grid(Section):
    """Every combination, in the order of the file: the last key changes fastest."""

    kind: Literal["grid"] = "grid"


class Random(Section):
    """Each value drawn by itself. seed: of the draws."""

    kind: Literal["random"] = "random"
    seed: NonNegativeInt = 0


class _Guided(Section):
    """A search that learns from trials. seed: of its draws.

    ahead: a trial is chosen, and stopped early, by what the trials up to `ahead` before it gave, all of them and no
        other: so that the same trials come again on any machine. No more than `ahead` run at the same time.
    startup: trials at the start that are drawn at random.
    """

    seed: NonNegativeInt = 0
    ahead: PositiveInt = 8
    startup: PositiveInt = 10


class Optuna(_Guided):
    """Tree-structured Parzen estimator of Optuna, for one objective or several."""

    kind: Literal["optuna"] = "optuna"


class HyperOpt(_Guided):
    """Tree-structured Parzen estimator of HyperOpt, for one objective (`pip install 'mmkd[hyperopt]'`)."""

    kind: Literal["hyperopt"] = "hyperopt"


class Pbt(Section):
    """Population based training (1711.09846): values change while members train, and the best members' states spread.

    A trial is one generation of a member: `every` epochs, which begin with the state of a trial of the generation
    before. A member that was among the worst takes over state and values of one of the best, and the values then
    change; the others go on as they are. A trial depends on all of the generation before, and on nothing else.
    seed: of the draws. population: members. every: epochs of a generation; they divide those of the experiment.
    keep: share of the members, at most a half, that counts as the best, and as the worst; one member at least.
    factor: by which a number is multiplied or divided. A choice gives way to its neighbour.
    resample: chance that a value is drawn anew instead.
    """

    kind: Literal["pbt"] = "pbt"
    seed: NonNegativeInt = 0
    population: AtLeastTwo = 8
    every: PositiveInt = 1
    keep: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    factor: Annotated[float, Field(gt=1)] = 1.2
    resample: Fraction = 0.25


Search = Annotated[Grid | Random | Optuna | HyperOpt | Pbt, Field(discriminator="kind")]


class Asha(Section):
    """Successive halving (1810.05934): a trial that is not among the best 1/reduction at a rung is stopped.

    grace_epochs: the first rung. reduction: each rung is so many times later than the one before.
    """

    kind: Literal["asha"] = "asha"
    grace_epochs: PositiveInt = 1
    reduction: AtLeastTwo = 3


class HyperBand(Section):
    """HyperBand (1603.06560): as `asha`, with a later first rung for each next trial in turn, the last has none."""

    kind: Literal["hyperband"] = "hyperband"
    grace_epochs: PositiveInt = 1
    reduction: AtLeastTwo = 3


class Median(Section):
    """The median rule (Vizier, KDD 2017): a trial whose best is below the median of the others' at that epoch stops.

    grace_epochs: epochs that every trial has. fewest: other trials that have to have come so far.
    """

    kind: Literal["median"] = "median"
    grace_epochs: PositiveInt = 1
    fewest: PositiveInt = 3


StopEarly = Annotated[Asha | HyperBand | Median, Field(discriminator="kind")]


class Retry(Section):
    """How often a trial that broke off begins again, from its last checkpoint, by why it did.

    lost: its process or its node ended. out_of_memory: of the device or the machine. hanging: no step for
    `hang_minutes`. failed: its own error, which would come again.
    """

    lost: NonNegativeInt = 10
    out_of_memory: NonNegativeInt = 1
    hanging: NonNegativeInt = 1
    failed: NonNegativeInt = 0


class PerTrial(Section):
    """What one trial occupies. cpus is also its number of threads, since sums depend on it in the last digit.

    gpus: below 1, several trials share one, each with at most that share of its memory. Above 1: so many processes
    train the trial together, each with one GPU. processes: the same without a GPU, each with `cpus`.
    """

    cpus: PositiveInt = 1
    gpus: NonNegativeFloat = 0.0
    processes: PositiveInt = 1

    @property
    def together(self) -> int:
        """How many processes train a trial together."""
        return max(self.processes, int(self.gpus))

    @model_validator(mode="after")
    def _whole_gpus(self) -> Self:
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise ValueError(f"gpus: found {self.gpus}; expected a share of one, or a whole number")
        if self.gpus and self.processes > 1:
            raise ValueError(f"processes: found {self.processes} with gpus; each GPU has a process of its own")
        return self


class Sweep(Section):
    """A sweep: every trial is the experiment with overrides, and can be printed as one `mmkd run` command.

    experiment: path of the experiment file, relative to the sweep file.
    trials, hours, gpu_hours: no trial begins after so many trials, hours of the sweep, or hours of GPUs. A grid and a
        population need none of them.
    seeds: every trial's; its score is their mean. give_up: a trial gets no further seed when its mean is below the best
        one's by more than so many standard errors; null: every trial gets all.
    node_cache: folder on each node's own disk, to which encoded data and teachers' outputs are copied once, and from
        where trials read them; null: they read what lies in the project's folder.
    hang_minutes: a trial without a step for so long is hanging. keep_weights: of so many best trials; records of all.
    """

    experiment: str
    objective: Objective = Objective()
    trials: PositiveInt | None = None
    hours: PositiveFloat | None = None
    gpu_hours: PositiveFloat | None = None
    seeds: Annotated[tuple[NonNegativeInt, ...], Strict(False), Field(min_length=1)] = (0,)
    give_up: PositiveFloat | None = 2.0
    search: Search = Optuna()
    stop_early: StopEarly | None = None
    retry: Retry = Retry()
    node_cache: str | None = None
    hang_minutes: PositiveFloat = 30.0
    per_trial: PerTrial = PerTrial()
    keep_weights: NonNegativeInt = 3
    space: Annotated[dict[str, Domain], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        several = len(self.objective.names) > 1
        if several and (self.stop_early is not None or self.search.kind in ("hyperopt", "pbt")):
            what = "stop_early" if self.stop_early is not None else f"search.kind: {self.search.kind}"
            raise ValueError(f"{what} knows one objective; found {', '.join(self.objective.names)}")
        if self.search.kind not in ("grid", "pbt") and self.trials is self.hours is self.gpu_hours is None:
            raise ValueError("expected at least one of trials, hours, gpu_hours")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds: found {list(self.seeds)}; expected each once")
        if self.search.kind == "pbt":
            if len(self.seeds) > 1:
                raise ValueError(f"seeds: found {list(self.seeds)}; a population has one, expected [0], for example")
            if self.stop_early is not None:
                raise ValueError("stop_early: a population replaces its worst members itself; expected none")
            if conditional := [key for key, domain in self.space.items() if domain.when]:
                raise ValueError(f"space.{conditional[0]}.when: a population varies every key; expected no conditions")
        return self

    @model_validator(mode="after")
    def _conditions_name_keys_above(self) -> Self:
        above: dict[str, Domain] = {}
        for key, domain in self.space.items():
            for other, values in domain.when.items():
                if other not in above:
                    raise ValueError(f"space.{key}.when: found {other}; expected a key of the space above this one")
                choices = above[other].choice or ()
                if wrong := [value for value in values if value not in choices]:
                    raise ValueError(
                        f"space.{key}.when.{other}: found {wrong}; expected some of its choices {list(choices)}"
                    )
            if self.search.kind == "grid" and domain.choice is None and domain.integer is None and not domain.points:
                raise ValueError(f"space.{key}: a grid needs `choice`, `integer`, or `points` of an interval")
            above[key] = domain
        return self
