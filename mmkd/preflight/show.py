"""The report of a preflight as a table for people. No torch here."""

from __future__ import annotations

from rich import box
from rich.table import Table

from mmkd.preflight.found import Report


def shown(report: Report) -> Table:
    """One line for each check: how many it looked at, and what came of it; then whom it could not look at."""
    table = Table(box=box.SIMPLE_HEAD, title=f"preflight on {report.rows} training rows, {report.seconds:.1f} s")
    table.add_column("check")
    table.add_column("looked at", justify="right")
    table.add_column("found")
    for check in {**report.looked, **report.left_out}:
        findings = report.findings.get(check, [])
        left_out = "; ".join(report.left_out.get(check, []))
        said = f"{len(findings)} mistakes" if findings else "as it should be" if check in report.looked else ""
        who = dict.fromkeys(report.looked.get(check, []))
        table.add_row(check, str(len(who)), "\n".join(filter(None, [said, left_out and f"not looked at: {left_out}"])))
    return table
