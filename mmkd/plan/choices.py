"""What other choices would cost: arithmetic on what was measured, nothing is tried here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mmkd.config.experiment import Experiment
from mmkd.plan.facts import Choice, Number, StudentPlan

OTHER_VIEWS = 4
"""Views that are compared with one, for an experiment that does not augment."""


@dataclass(frozen=True)
class Rates:
    """Costs of the teachers' part. None where nothing was timed.

    cached: dtype -> bytes of the cache of one view. building: seconds to build it. reading, live: seconds of an epoch
    in which the teachers speak from the cache, or live. alone: seconds of an epoch of the student without teachers,
    its validation included; None also when no loss would be left.
    """

    cached: Mapping[str, int]
    building: float | None
    reading: float | None
    live: float | None
    alone: float | None


def choices(experiment: Experiment, student: StudentPlan, rates: Rates) -> tuple[Choice, ...]:
    """The file's own choice and others, each from nothing, over all seeds and epochs.

    Bytes of several views are exact where texts keep their number of words.
    """
    settings, augment = experiment.train, experiment.augment
    own_views = 1 if augment is None else augment.views
    found = []
    for dtype, views in _cached_choices(settings.cache_dtype, own_views):
        chosen = settings.cache and (dtype, views) == (settings.cache_dtype, own_views)
        name = f"cached {dtype}, {views} view{'s' if views > 1 else ''}"
        size = Number(views * rates.cached[dtype], "exact" if views == 1 else "estimated")
        first = None if rates.building is None else views * rates.building
        found.append(_choice(name, chosen, size, first, _sum(_epoch(student), rates.reading), student))
    nothing = Number(0, "exact")
    epoch = _sum(_epoch(student), rates.live)
    found.append(_choice("live teachers", not settings.cache, nothing, _known(epoch, 0.0), epoch, student))
    if rates.alone is not None:
        found.append(_choice("no teachers", False, nothing, 0.0, rates.alone, student))
    return tuple(found)


def break_even(rates: Rates) -> Number | None:
    """Epochs, over all seeds, after which building the cache of one view has cost less than live teachers.

    None when nothing was timed, or when reading takes as long as asking.
    """
    if rates.building is None or rates.reading is None or rates.live is None or rates.live <= rates.reading:
        return None
    return Number(rates.building / (rates.live - rates.reading), "estimated")


def _cached_choices(dtype: str, own_views: int | None) -> list[tuple[str, int]]:
    views = own_views or 1
    dtypes = dict.fromkeys([dtype, "fp16", "fp32"])
    other = 1 if views > 1 else OTHER_VIEWS
    return [*((each, views) for each in dtypes), (dtype, other)]


def _choice(
    name: str, chosen: bool, size: Number, first: float | None, epoch: float | None, student: StudentPlan
) -> Choice:
    if first is None or epoch is None or student.final_seconds is None:
        return Choice(name, chosen, size, None, None, None)
    seconds = first + student.seeds * (student.epochs * epoch + student.final_seconds.value)
    return Choice(
        name, chosen, size, Number(first, "estimated"), Number(epoch, "estimated"), Number(seconds, "estimated")
    )


def _epoch(student: StudentPlan) -> float | None:
    return None if student.epoch_seconds is None else student.epoch_seconds.value


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _known(known: float | None, value: float) -> float | None:
    return None if known is None else value
