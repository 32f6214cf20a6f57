"""From measurements to a table: CPU time per sample, and its ratio to the floor, repeat by repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from benchmarks.arms import ARMS


@dataclass(frozen=True)
class Line:
    """One arm. first, later: CPU milliseconds per sample of the first epoch and of the later ones, medians of repeats.

    ratio: of `later` to the floor's in the same repeat: median, least, greatest. memory: peak, bytes, greatest.
    """

    arm: str
    first: float
    later: float
    wall: float
    ratio: tuple[float, float, float]
    memory: int


def later(found: Mapping[str, Any], clock: str = "cpu") -> float:
    """Milliseconds per sample after the first epoch; of the first where there is no other."""
    seconds = found[clock][1:] or found[clock]
    return 1000 * sum(seconds) / len(seconds) / (found["rows"] / len(found[clock]))


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
                max(one["peak_memory"] for one in own),
            )
        )
    return result


HEADINGS = ("arm", "what", "ms/sample", "first epoch", "wall", "x floor", "spread", "peak memory (MB)")


def cells(line: Line) -> tuple[str, ...]:
    """The line as text, under `HEADINGS`."""
    middle, least, most = line.ratio
    return (
        line.arm,
        ARMS[line.arm].what,
        f"{line.later:.2f}",
        f"{line.first:.2f}",
        f"{line.wall:.2f}",
        f"{middle:.3f}",
        f"{least:.3f} to {most:.3f}",
        f"{line.memory / 1e6:,.0f}",
    )


def markdown(result: Sequence[Line], about: Mapping[str, Any]) -> str:
    """A page: what was measured, where, and the table."""
    rows = [HEADINGS, ["---", "---", *["--:"] * 6], *(cells(line) for line in result)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    facts = "\n".join(f"- {name}: {value}" for name, value in about.items())
    return f"# {about['name']}\n\n{facts}\n\n{table}\n"
