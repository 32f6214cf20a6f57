"""Where a page's numbers come from, in HTML: code, packages, machines, data, openings of the test split, commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from mmkd.record import RunRecord
from mmkd.report.page.groups import Group, network_name
from mmkd.show.page_frame import html_table


def origin_section(groups: Sequence[Group]) -> str:
    """A line for each fact on which the records agree, or for each wording of it, with those that it holds for."""
    facts: list[tuple[str, Callable[[RunRecord], str]]] = [
        ("code", _code),
        ("packages", lambda record: ", ".join(f"{name} {version}" for name, version in record.packages.items())),
        ("machine", _machine),
        ("data", lambda record: ", ".join(f"{name} {key[:12]}" for name, key in sorted(record.data.items()))),
        ("test split opened", _openings),
    ]
    lines = [line for name, told in facts for line in _by_wording(name, told, groups)]
    return html_table(("", "of", "as the records say"), lines, "told")


def commands_section(groups: Sequence[Group], command: str) -> str:
    """The commands that made the records, then the page's own."""
    made = dict.fromkeys(record.command for group in groups for record in group.records)
    return f"<pre>{escape(chr(10).join([*made, *([command] if command else [])]))}</pre>"


def _by_wording(
    name: str, told: Callable[[RunRecord], str], groups: Sequence[Group]
) -> list[tuple[str, tuple[str, str]]]:
    whose: dict[str, dict[str, None]] = {}
    for group in groups:
        for record in group.records:
            whose.setdefault(told(record), {})[f"{group.label}, {network_name(record)}"] = None
    return [
        (name, ("all" if len(whose) == 1 else escape("; ".join(who)), escape(wording)))
        for wording, who in whose.items()
    ]


def _code(record: RunRecord) -> str:
    commit = "no commit" if record.code.commit is None else f"commit {record.code.commit}"
    changed = "" if record.code.diff is None else f", with uncommitted changes {record.code.diff[:12]}"
    return f"{record.code.version}, {commit}{changed}"


def _machine(record: RunRecord) -> str:
    machine = record.machine
    return (
        f"{machine.device}, {machine.cpu}, {machine.cpu_features}, {machine.threads} thread(s), {machine.processes} "
        f"process(es), {machine.platform}, Python {machine.python}"
    )


def _openings(record: RunRecord) -> str:
    times = "once" if record.test_openings == 1 else f"{record.test_openings} times"
    return times if record.test_openings <= 1 else f"seed {record.seed}: {times}: it may have been chosen by it"
