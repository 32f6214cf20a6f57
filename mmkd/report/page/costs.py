"""What experiments cost, as a table in HTML: seconds by phase, sizes, operations, memory; the mean over seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import fsum
from statistics import fmean

from mmkd.record import RunRecord
from mmkd.report.page.groups import Group, network_name, record_of
from mmkd.show.page_frame import html_table

SHARED = ("teach", "cache")
"""Phases that all seeds of a command share: teachers are made ready, and what they say is stored."""
NOTE = (
    "Wall time in s, of a run on its machine: mean over seeds. The seeds of one command share what teachers and cache "
    "took, and each seed's record has it in full. Operations: of a forward pass, per example. Memory: the peak."
)


def cost_section(groups: Sequence[Group]) -> str:
    """A line for each network of each experiment."""
    runs = [[record_of(each) for each in found] for group in groups for found in group.networks.values()]
    labels = [group.label for group in groups for _ in group.networks]
    phases = list(dict.fromkeys(phase for found in runs for record in found for phase in record.seconds))
    head = (
        *("", "n", *phases, "all", "teachers and cache"),
        *("parameters", "trained", "operations (M)", "memory (MiB)"),
    )
    lines = [
        (f"{label}, {network_name(found[0])}", _cells(found, phases)) for label, found in zip(labels, runs, strict=True)
    ]
    return f'<p class="note">{NOTE}</p>{html_table(head, lines, "costs")}'


def _cells(runs: Sequence[RunRecord], phases: Sequence[str]) -> list[str]:
    """The numbers of one network's runs."""
    return [
        str(len(runs)),
        *(_mean(runs, partial(_seconds, phase), "{:,.1f}") for phase in phases),
        _mean(runs, lambda record: fsum(record.seconds.values()), "{:,.1f}"),
        _mean(runs, _shared, "{:.0%}"),
        _mean(runs, lambda record: record.parameters, "{:,.0f}"),
        _mean(runs, lambda record: record.trained_parameters, "{:,.0f}"),
        _mean(runs, lambda record: None if record.flops is None else record.flops / 1e6, "{:,.1f}"),
        _mean(runs, lambda record: record.peak_memory / 2**20, "{:,.0f}"),
    ]


def _seconds(phase: str, record: RunRecord) -> float | None:
    return record.seconds.get(phase)


def _shared(record: RunRecord) -> float | None:
    """The share of teachers and cache in all the time of a student's run."""
    whole = fsum(record.seconds.values())
    if record.teacher is not None or not whole:
        return None
    return fsum(record.seconds.get(phase, 0.0) for phase in SHARED) / whole


def _mean(runs: Sequence[RunRecord], number: Callable[[RunRecord], float | None], form: str) -> str:
    """The mean over the runs; a dash where a run has no such number."""
    found = [number(record) for record in runs]
    known = [each for each in found if each is not None]
    return form.format(fmean(known)) if len(known) == len(found) else "–"
