"""What the tests of sweeps share: sweep files as text, and a course that runs without Ray on made-up scores."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmkd.config.sweep_file import Sweep
from mmkd.sweep.course import Course, Fixed, Next
from mmkd.sweep.journal import Journal
from mmkd.sweep.order import Order, Outcome
from mmkd.sweep.rules import hopeless, stopped_at
from mmkd.sweep.trials import FINISHED, GIVEN_UP, STOPPED, WENT_ON, Trial

NAME = "validation.mean_score"
EPOCHS = 9
SPACE: dict[str, Any] = {
    "train.lr": {"log_uniform": [1e-4, 1e-1]},
    "weighting.kind": {"choice": ["fixed", "uncertainty"]},
    "weighting.bound": {"uniform": [0.5, 2.0], "when": {"weighting.kind": "uncertainty"}},
    "train.batch_size": {"integer": [8, 64]},
}


POPULATION: dict[str, Any] = {
    "search": {"kind": "pbt", "population": 6, "every": 3, "keep": 0.34},
    "trials": None,
    "space": {
        "train.lr": {"log_uniform": [1e-4, 1e-1]},
        "losses.words.weight": {"uniform": [0.1, 2.0]},
        "losses.words.degree": {"integer": [1, 9]},
        "losses.words.normalize": {"choice": [False, True]},
    },
}
"""Keys of a sweep by population based training, of three generations."""


def sweep_of(**plain: Any) -> Sweep:
    """A sweep file with this space, unless something else is given."""
    return Sweep.model_validate({"experiment": "x.yaml", "trials": 20, "space": SPACE} | plain)


def curve_of(values: dict[str, Any], seed: int = 0) -> list[float]:
    """Scores after each epoch that a trial with these values would have: they rise to what the values allow."""
    top = 1.0 - abs(math.log10(values.get("train.lr", 1e-2)) + 2.3) / 4
    top += 0.1 * (values.get("weighting.bound", 0.0) > 1) + 0.01 * math.sin(seed + len(repr(values)))
    return [top * (1 - 0.5 ** (epoch + 1)) for epoch in range(EPOCHS)]


def fixed_in(folder: Path) -> Fixed:
    return Fixed(folder / "x.yaml", folder, ("seeds=[0]",), EPOCHS, "code", folder / "cache", ())


def population_curve(order: Order) -> list[float]:
    """Scores after each epoch of a lineage, told by its overrides alone: each epoch adds what its values allow."""
    changes, values = dict[int, dict[str, Any]](), dict[str, Any]()
    for key, _, text in (override.partition("=") for override in order.overrides):
        if key.startswith("changes."):
            changes[json.loads(text)["epoch"]] = json.loads(text)["set"]
        else:
            values[key] = json.loads(text)
    curve = [0.0]
    for epoch in range(order.until or EPOCHS):
        values |= changes.get(epoch, {})
        gain = 1 - abs(math.log10(values["train.lr"]) + 2.3) / 4 - abs(values["losses.words.weight"] - 1) / 9
        curve.append(curve[-1] + gain + 0.01 * math.sin(values["losses.words.degree"]))
    return curve[1:]


def carried_out(order: Order, values: dict[str, Any], curve_of: Callable[..., list[float]] = curve_of) -> Outcome:
    """What a worker would do."""
    if order.until is not None or order.parent is not None:
        curve = population_curve(order)
        seed = {"seed": 0, "objectives": {NAME: curve[-1]}, "record": "r", "epochs": len(curve), "seconds": 1.0}
        status = FINISHED if order.until is None else WENT_ON
        return Outcome(attempt=order.attempt, reason=None, status=status, seeds=[seed], curve=curve, says="")
    seeds: list[dict[str, Any]] = []
    status, first = FINISHED, list[float]()
    for seed in order.seeds:
        curve = curve_of(values, seed)
        if not seeds and (end := stopped_at(curve, order.rungs)) is not None:
            curve, status = curve[:end], STOPPED
        first = first or curve
        scores = dict.fromkeys(order.objectives, max(curve))
        seeds.append({"seed": seed, "objectives": scores, "record": "r", "epochs": len(curve), "seconds": 1.0})
        if status == STOPPED:
            break
        done = [each["objectives"][NAME] for each in seeds]
        if len(seeds) < len(order.seeds) and hopeless(done, order.bar_of(), order.give_up):
            status = GIVEN_UP
            break
    return Outcome(attempt=order.attempt, reason=None, status=status, seeds=seeds, curve=first, says="")


def simulate(
    sweep: Sweep,
    path: Path,
    at_once: int = 3,
    luck: int = 0,
    steps: int | None = None,
    fails: Callable[[Order, random.Random], str | None] = lambda order, draws: None,
) -> dict[int, Trial]:
    """Run a sweep on made-up scores, so many trials at once, ending in an order that `luck` draws.

    steps: after so many ends it breaks off, as if the process were killed. fails: why an attempt breaks off.
    """
    draws = random.Random(luck)
    with Journal(path) as journal:
        course = Course(sweep, fixed_in(path.parent), journal, clock=lambda: 0.0)
        running: list[Order] = []
        while True:
            while len(running) < at_once and isinstance(found := course.next(), Order):
                running.append(found)
            if not running:
                assert course.next() is Next.END
                return course.trials
            if steps is not None:
                if steps == 0:
                    return course.trials
                steps -= 1
            order = running.pop(draws.randrange(len(running)))
            reason = fails(order, draws)
            if reason is None:
                values = course.trials[order.number].values
                course.ended(order.number, carried_out(order, values), 1.0)
            else:
                course.broke_off(order.number, reason, "planted", 1.0)


def told(trials: dict[int, Trial]) -> list[tuple[Any, ...]]:
    """All that must not depend on timing: values, what had to be reached, how it ended, scores."""
    return [(t.number, t.values, t.overrides, t.rungs, t.bar, t.status, t.seeds, t.curve) for t in trials.values()]
