"""Tables of kinds and properties at the end of the suite, one of each file of tests."""

from __future__ import annotations

from collections import defaultdict

import pytest
from rich.console import Console
from rich.table import Table

Found = dict[str, dict[str, dict[str, set[str]]]]
"""Outcomes by title, kind and property."""

FOUND = pytest.StashKey[Found]()
SIGNS = {"failed": "✗", "passed": "✓", "skipped": "·"}


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FOUND] = defaultdict(lambda: defaultdict(lambda: defaultdict(set)))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """Write the kind and the property on the report, which may come from another process."""
    outcome = yield
    case = getattr(item, "callspec", None) and item.callspec.params.get("case")
    if case is not None:
        told = (item.path.stem.removeprefix("test_"), case.kind, item.originalname.removeprefix("test_"))
        outcome.get_result().user_properties.append(("property", told))


class Collector:
    """Collects what each property's tests came to."""

    def __init__(self, found: Found) -> None:
        self.found = found

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        told = dict(report.user_properties).get("property")
        if told is not None and (report.when == "call" or not report.passed):
            title, kind, name = told
            self.found[title][kind][name].add(report.outcome)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    found = config.stash[FOUND]
    if terminalreporter.verbosity < 0:
        return
    for title, kinds in found.items():
        terminalreporter.write_line(table_of(title, kinds))


def table_of(title: str, found: dict[str, dict[str, set[str]]]) -> str:
    properties = list(dict.fromkeys(name for own in found.values() for name in own))
    numbers = (str(number) for number in range(1, len(properties) + 1))
    table = Table("kind", *numbers, title=f"{title}: kind × property", padding=0)
    for kind, own in sorted(found.items()):
        worst = (next((o for o in SIGNS if o in own[name]), None) for name in properties)
        table.add_row(kind, *(SIGNS[each] if each else " " for each in worst))
    shown = Console(width=100)
    with shown.capture() as capture:
        shown.print(table)
        for number, name in enumerate(properties, start=1):
            shown.print(f"{number}: {name.replace('_', ' ')}", highlight=False)
        shown.print("✓ holds, ✗ does not, · does not apply")
    return capture.get()
