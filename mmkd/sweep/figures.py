"""A sweep as figures: scores over trials, importance, parallel coordinates, each key, learning curves, Pareto front.

Each function draws one figure from trials; what is drawn is what the journal holds. matplotlib alone, no torch here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mmkd.config.sweep_file import Domain, Sweep
from mmkd.report.plot_style import BLACK, BLUE, GREY, ORANGE, STYLE, WIDTH, logarithmic_below, one
from mmkd.sweep.importance import importances
from mmkd.sweep.ranking import pareto
from mmkd.sweep.trials import FAILED, FINISHED, GIVEN_UP, STOPPED, Trial

MARKS = {FINISHED: ("o", BLUE), STOPPED: ("v", ORANGE), GIVEN_UP: ("s", ORANGE), FAILED: ("x", BLACK)}
BEHIND = {"facecolor": "white", "alpha": 0.8, "pad": 0.6, "linewidth": 0}
LEAST = 3
"""Trials with a score that a figure of relations between keys and scores needs."""
MOST_ACROSS = 5
"""Names of axes that stand beside one another; more of them stand upright."""
ROOM = 20
"""Characters of a choice's values that stand in a row below a panel; where there are more, the values stand upright."""
ABSENT = -0.12
"""Height on the axis of a key that a trial does not vary, below its lowest value."""


def figures(trials: Sequence[Trial], sweep: Sweep) -> dict[str, Figure]:
    """Every figure that the trials give, by name."""
    drawn: dict[str, Callable[[Sequence[Trial], Sweep], Figure | None]] = {
        "scores": scores,
        "curves": curves,
        "importance": importance,
        "coordinates": coordinates,
        "keys": keys,
        "pareto": fronts,
    }
    with matplotlib.rc_context(STYLE):
        found = {name: draw(trials, sweep) for name, draw in drawn.items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def scored(trials: Sequence[Trial], name: str) -> list[Trial]:
    """Those that have the objective."""
    return [trial for trial in trials if name in trial.objectives]


def best_line(trials: Sequence[Trial], sweep: Sweep) -> list[tuple[int, float]]:
    """Number of a finished trial -> the best first objective up to it."""
    name, found, best = sweep.objective.names[0], list[tuple[int, float]](), -math.inf
    for trial in scored(trials, name):
        if trial.status == FINISHED:
            best = max(best, trial.objectives[name])
            found.append((trial.number, best))
    return found


def scores(trials: Sequence[Trial], sweep: Sweep) -> Figure | None:
    """The first objective of each trial, and the best so far."""
    name = sweep.objective.names[0]
    if not scored(trials, name):
        return None
    figure, axes = one(2.6)
    for status, (mark, colour) in MARKS.items():
        own = [trial for trial in scored(trials, name) if trial.status == status]
        if own:
            axes.scatter(
                [t.number for t in own], [t.objectives[name] for t in own], s=16, marker=mark, c=colour, label=status
            )
    for trial in trials:
        if trial.status == FAILED:
            axes.axvline(trial.number, color=BLACK, linewidth=0.5, linestyle=":", label="_failed")
    line = best_line(trials, sweep)
    axes.step(*zip(*line, strict=True), where="post", color=BLUE, linewidth=1, label="best so far") if line else None
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trial", ylabel=name)
    axes.legend(frameon=False, fontsize=7, ncols=4, loc="upper left", bbox_to_anchor=(0, 1.18), borderaxespad=0)
    return figure


def curves(trials: Sequence[Trial], sweep: Sweep) -> Figure | None:
    """The best score so far after each epoch of each trial's first seed."""
    own = [trial for trial in trials if trial.curve]
    if not own or max(len(trial.curve) for trial in own) < 2:
        return None
    figure, axes = one(2.6)
    last = [trial.curve[-1] for trial in own]
    for trial in sorted(own, key=lambda each: each.curve[-1]):
        epochs = range(1, len(trial.curve) + 1)
        stopped = trial.status == STOPPED
        colour = GREY if stopped else matplotlib.colormaps["viridis"](_share(trial.curve[-1], last))
        axes.plot(epochs, trial.curve, color=colour, linewidth=0.8, alpha=0.9)
        axes.plot(len(trial.curve), trial.curve[-1], "v" if stopped else "o", color=colour, markersize=3)
    marks: list[Artist] = []
    if any(trial.status == STOPPED for trial in own):
        marks.append(Line2D([], [], color=GREY, marker="v", markersize=3, linewidth=0.8, label=STOPPED))
    if limits := rungs_reached(own):
        at, least = zip(*limits, strict=True)
        marks.append(axes.scatter(at, least, marker="_", s=40, linewidth=0.8, c=BLACK, zorder=3, label="rung"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=f"{sweep.objective.names[0]}, best so far")
    if marks:
        axes.legend(handles=marks, frameon=False, fontsize=7, loc="lower right")
    return figure


def rungs_reached(trials: Sequence[Trial]) -> list[tuple[int, float]]:
    """Epoch, and the score that a trial which came there had to reach to go on; each pair once."""
    reached = {rung for t in trials for rung in t.rungs.items() if rung[0] <= len(t.curve)}
    return sorted(reached)


def importance(trials: Sequence[Trial], sweep: Sweep) -> Figure | None:
    """The share of the score that each key explains by itself."""
    found = importances(trials, sweep)
    if not found:
        return None
    figure, axes = one(0.5 + 0.22 * len(found))
    names = list(found)[::-1]
    axes.barh(names, [found[name] for name in names], color=BLUE, height=0.6)
    axes.grid(axis="y", visible=False)
    axes.set(xlabel="share of the variance among the best trials", xlim=(0, 1))
    return figure


def coordinates(trials: Sequence[Trial], sweep: Sweep) -> Figure | None:
    """A line for each trial through the values of all keys, coloured by its score."""
    name = sweep.objective.names[0]
    own = sorted(scored(trials, name), key=lambda each: each.objectives[name])
    if len(own) < LEAST:
        return None
    names = [*sweep.space, name]
    upright = len(names) > MOST_ACROSS  # beside one another, their names would overlap
    figure, axes = one(3.0 + (0.05 * max(map(len, names)) if upright else 0.0))
    goals = [trial.objectives[name] for trial in own]
    for trial in own:
        heights = heights_of(trial, sweep)
        heights.append(_share(trial.objectives[name], goals))
        colour = matplotlib.colormaps["viridis"](_share(trial.objectives[name], goals))
        axes.plot(range(len(heights)), heights, color=colour, linewidth=0.8, alpha=0.8, marker="o", markersize=1.5)
    for x, key in enumerate(names):
        axes.axvline(x, color=BLACK, linewidth=0.6)
        ticks: dict[float, Any] = (
            ticks_of(sweep.space[key]) if key in sweep.space else {0.0: min(goals), 1.0: max(goals)}
        )
        if any(key in sweep.space and key not in trial.values for trial in own):
            ticks[ABSENT] = "not varied"
        for height, value in ticks.items():
            axes.text(x + 0.03, height, brief(value), fontsize=6, va="center", color=BLACK, bbox=BEHIND)
    labels = names if upright else [broken(key) for key in names]
    axes.set_xticks(range(len(names)), labels, fontsize=6, rotation=90 if upright else 0)
    lowest = ABSENT if any(len(trial.values) < len(sweep.space) for trial in own) else 0.0
    axes.set(ylim=(lowest - 0.05, 1.05), yticks=[])
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return figure


def heights_of(trial: Trial, sweep: Sweep) -> list[float]:
    """Where a trial crosses the axis of each key, from 0 to 1; ABSENT where it does not vary the key."""
    own = trial.values
    return [place(domain, own[key]) if key in own else ABSENT for key, domain in sweep.space.items()]


def keys(trials: Sequence[Trial], sweep: Sweep) -> Figure | None:
    """The first objective against each key by itself."""
    name = sweep.objective.names[0]
    own = scored(trials, name)
    if len(own) < LEAST:
        return None
    across = min(3, len(sweep.space))
    down = -(-len(sweep.space) // across)
    upright = {key: words for key, domain in sweep.space.items() if sum(map(len, words := words_of(domain))) > ROOM}
    longest = max((len(word) for words in upright.values() for word in words), default=0)
    figure = Figure(figsize=(WIDTH, (1.9 + 0.05 * longest) * down), layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, sharey=True).flatten()
    for axes, (key, domain) in zip(grid, sweep.space.items(), strict=False):
        for status, (mark, colour) in MARKS.items():
            shown = [trial for trial in own if trial.status == status and key in trial.values]
            xs = [where(domain, trial.values[key]) for trial in shown]
            axes.scatter(xs, [trial.objectives[name] for trial in shown], s=10, marker=mark, c=colour)
        if domain.choice is not None:
            axes.set_xticks(range(len(domain.choice)), words_of(domain), fontsize=6, rotation=90 * (key in upright))
            axes.set_xlim(-0.5, len(domain.choice) - 0.5)
        elif domain.log_uniform is not None:
            logarithmic_below(axes)
        axes.set_xlabel(broken(key), fontsize=7)
    for axes in grid[len(sweep.space) :]:
        axes.set_visible(False)
    for row in range(down):
        grid[row * across].set_ylabel(name, fontsize=7)
    return figure


def fronts(trials: Sequence[Trial], sweep: Sweep) -> Figure | None:
    """Each pair of objectives, and the finished trials that none surpasses in all of them."""
    names = sweep.objective.names
    own = [trial for trial in trials if trial.status == FINISHED]
    if len(names) < 2 or not own:
        return None
    pairs = list(combinations(names, 2))
    figure = Figure(figsize=(WIDTH, 2.4 * -(-len(pairs) // 2)), layout="constrained")
    grid = figure.subplots(-(-len(pairs) // 2), min(2, len(pairs)), squeeze=False).flatten()
    best = pareto(own, sweep.objective)
    for axes, (down, across) in zip(grid, pairs, strict=False):
        axes.scatter([t.objectives[across] for t in own], [t.objectives[down] for t in own], s=12, c=GREY)
        front = sorted(best, key=lambda each: each.objectives[across])
        axes.plot(
            [t.objectives[across] for t in front], [t.objectives[down] for t in front], "o", color=BLUE, markersize=4
        )
        for trial in front:
            at = (trial.objectives[across], trial.objectives[down])
            axes.annotate(str(trial.number), at, textcoords="offset points", xytext=(3, 3), fontsize=6)
        axes.set(xlabel=across, ylabel=down)
    for axes in grid[len(pairs) :]:
        axes.set_visible(False)
    return figure


def place(domain: Domain, value: Any) -> float:
    """Where a value stands on its axis, from 0 to 1; choices stand apart by equal steps."""
    if domain.choice is not None:
        return domain.choice.index(value) / max(1, len(domain.choice) - 1)
    if domain.log_uniform is not None:
        low, high = domain.log_uniform
        return math.log(value / low) / math.log(high / low)
    low, high = domain.uniform or domain.integer or (0.0, 1.0)
    return (value - low) / (high - low)


def ticks_of(domain: Domain) -> dict[float, Any]:
    """Heights on a key's axis -> the values there."""
    values = domain.choice or domain.uniform or domain.log_uniform or domain.integer or ()
    return {place(domain, value): value for value in values}


def words_of(domain: Domain) -> list[str]:
    """The values of a choice, as they stand below its panel."""
    return [brief(value) for value in domain.choice or ()]


def where(domain: Domain, value: Any) -> float:
    """A value on an axis of its own units; a choice by its position."""
    return float(domain.choice.index(value)) if domain.choice is not None else float(value)


def brief(value: object) -> str:
    """A value beside an axis; of a plug-in's section the kind alone, for which there is room."""
    if isinstance(value, Mapping) and "kind" in value:
        return brief(value["kind"])
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 18 else text[:17] + "…"


def broken(key: str) -> str:
    """A key over several lines, where it has points."""
    return key.replace(".", ".\n")


def _share(value: float, values: Sequence[float]) -> float:
    low, high = min(values), max(values)
    return 0.5 if high == low else (value - low) / (high - low)


def titles() -> Mapping[str, str]:
    """What each figure shows, in a line."""
    return {
        "scores": "Score of each trial, in the order of their numbers",
        "curves": "Learning curves: best score so far on validation, first seed; rung: the least to go on",
        "importance": "Importance: what each key explains by itself",
        "coordinates": "All keys of each trial together; the brighter, the better",
        "keys": "Score against each key",
        "pareto": "Objectives against each other; blue: no trial surpasses it in all of them",
    }
