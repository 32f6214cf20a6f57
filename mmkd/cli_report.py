"""`mmkd report NAME...`: one HTML page about experiments; it imports its own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from mmkd.cli_tools import refusals

MOST_NAMES = 3
"""Names of experiments that the page's file name holds."""


def report(
    names: Annotated[list[str], typer.Argument(help="Experiments; the others are compared with the first.")],
    runs: Annotated[bool, typer.Option(help="From the scratch runs, not from the ledger.")] = False,
    examples: Annotated[int, typer.Option(min=0, help="Rows a task on which two networks differ; 0: none.")] = 6,
) -> None:
    """Write one HTML page about experiments: scores, figures, configs, cost, origin, rows where networks differ."""
    from mmkd.places import Places
    from mmkd.report.page.write import write_report

    places = Places.near(Path.cwd())
    records = places.runs if runs else places.records
    names = list(dict.fromkeys(names))
    more = [f"and{len(names) - MOST_NAMES}more"] if len(names) > MOST_NAMES else []
    out = places.runs / "reports" / f"{'-'.join([*names[:MOST_NAMES], *more])}.html"
    command = shlex.join(["mmkd", "report", *names, *(["--runs"] if runs else []), "--examples", str(examples)])
    with refusals():
        write_report(places, names, (), (), records, out, ", ".join(names), examples=examples, command=command)
    typer.echo(f"wrote {out.relative_to(places.root)}")
