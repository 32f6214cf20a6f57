"""From measurements to a table: CPU time per sample, and its ratio to the floor, repeat by repeat."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.arms import ARMS


@dataclass(frozen=True)
class Line:
    """One arm. first, later: CPU milliseconds per sample of the first epoch and of the later ones, medians of repeats.

    ratio: of `later` to the floor's in the same repeat: median, least, greatest. memory: most bytes held in the later
    epochs. loss: of the first step, in the first repeat.
    """

    arm: str
    first: float
    later: float
    wall: float
    ratio: tuple[float, float, float]
    memory: int
    loss: float


def later(found: Mapping[str, Any], clock: str = "cpu") -> float:
    """Milliseconds per sample after the first epoch; of the first where there is no other."""
    seconds = found[clock][1:] or found[clock]
    return 1000 * sum(seconds) / len(seconds) / (found["rows"] / len(found[clock]))


def memory(found: Mapping[str, Any]) -> int:
    """Most bytes that were held after the first epoch; in the first where there is no other."""
    return max(found["peak_memory"][1:] or found["peak_memory"])


def lines(found: Sequence[Mapping[str, Any]]) -> list[Line]:
    """A line for each arm that was measured, in the order of `ARMS`. found: in the order of the repeats."""
    by_arm: dict[str, list[Mapping[str, Any]]] = {}
    for each in found:
        by_arm.setdefault(each["arm"], []).append(each)
    result = []
    for arm, entry in ARMS.items():
        own, floor = by_arm.get(arm, []), by_arm.get(entry.floor, [])
        if not own or not floor:
            continue
        ratios = [later(one) / later(other) for one, other in zip(own, floor, strict=True)]
        first = [1000 * one["cpu"][0] / (one["rows"] / len(one["cpu"])) for one in own]
        result.append(
            Line(
                arm,
                median(first),
                median(later(one) for one in own),
                median(later(one, "wall") for one in own),
                (median(ratios), min(ratios), max(ratios)),
                max(memory(one) for one in own),
                own[0]["first_loss"],
            )
        )
    return result


HEADINGS = ("arm", "ms", "1st", "wall", "× floor", "spread", "MB", "loss")
"""ms: of a sample in a later epoch, CPU time; 1st: in the first epoch; wall: the later ones by the clock. MB: the most
memory held in a later epoch. loss: of the first step."""


def cells(line: Line) -> tuple[str, ...]:
    """The line as text, under `HEADINGS`."""
    middle, least, most = line.ratio
    return (
        line.arm,
        f"{line.later:.2f}",
        f"{line.first:.2f}",
        f"{line.wall:.2f}",
        f"{middle:.3f}",
        f"{least:.3f}–{most:.3f}",
        f"{line.memory / 1e6:,.0f}",
        "–" if math.isnan(line.loss) else f"{line.loss:.3f}",
    )


@dataclass(frozen=True)
class Promise:
    """That one arm's number is at most, or at least, so many times another's. of: which number of a measurement."""

    what: str
    arm: str
    other: str
    at_least: bool
    bound: float
    of: Callable[[Mapping[str, Any]], float] = later


PROMISES = (
    Promise("a cached epoch costs what the student costs", "ours_cached", "floor", False, 1.05),
    Promise("the floor is no slower than a plain loop", "floor", "plain_floor", False, 1.0),
    Promise("diagnostics cost little", "ours_diagnosed", "ours_cached", False, 1.15),
    Promise("checkpoints after each epoch cost little", "ours_saving", "ours_cached", False, 1.03),
    Promise("live teachers cost more than cached ones", "ours_live", "ours_cached", True, 4.0),
    Promise("HF Trainer grouped by length costs more", "hf_grouped", "ours_cached", True, 4.5),
    Promise("HF Trainer's default costs more", "hf_default", "ours_cached", True, 10.0),
    Promise("the tutorial's way costs more", "tutorial", "ours_cached", True, 15.0),
    Promise("torchdistill's cache costs more", "torchdistill", "ours_cached", True, 1.0),
    Promise("TextBrewer's cache costs more, text only", "textbrewer", "ours_text_cached", True, 1.0),
    Promise("the cache costs what bare passes cost", "cache_build", "teacher_forward", False, 1.1),
    Promise("seeds cost one pass and their students", "seeds_cached", "seeds_apart", False, 1.1),
    Promise("a cached run holds what the student holds", "ours_cached", "floor", False, 1.1, memory),
)
PROMISE_HEADINGS = ("promise", "ratio", "spread", "bound", "kept")


def kept(found: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A row for each promise whose arms were measured, under `PROMISE_HEADINGS`.

    kept: by the median of the repeats; `open` where the median falls short and the spread does not.
    """
    rows = []
    for promise in PROMISES:
        own, other = ([promise.of(one) for one in found if one["arm"] == arm] for arm in (promise.arm, promise.other))
        if not own or not other:
            continue
        ratios = [one / two for one, two in zip(own, other, strict=True)]
        middle = median(ratios)
        short = [ratio < promise.bound if promise.at_least else ratio > promise.bound for ratio in (middle, *ratios)]
        verdict = "yes" if not short[0] else "no" if all(short) else "open"
        spread, bound = (
            f"{min(ratios):.3f}–{max(ratios):.3f}",
            f"{'≥' if promise.at_least else '≤'} {promise.bound:g}",
        )
        rows.append((promise.what, f"{middle:.3f}", spread, bound, verdict))
    return rows


def markdown(found: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> str:
    """A page: what was measured, where, the promises and the table of arms."""
    result = lines(found)
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    arms = "\n".join(f"- {line.arm}: {ARMS[line.arm].what}" for line in result)
    promises = _table(PROMISE_HEADINGS, kept(found), 1)
    table = _table(HEADINGS, [cells(line) for line in result], 1)
    return f"# {about['name']}\n\n{facts}\n\n{promises}\n\n{table}\n\n{arms}\n"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int) -> str:
    marks = ["---" if n < texts else "--:" for n in range(len(headings))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, marks, *rows))
