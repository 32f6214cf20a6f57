"""`mmkd study FILE`; it imports its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmkd.cli_tools import refusals


def study(
    file: Annotated[Path, typer.Argument(help="Study file (YAML).")],
    runs: Annotated[
        bool, typer.Option(help="From the scratch runs, tables and figures into results/runs; the ledger stays.")
    ] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Seeds that run at the same time, each in its own process.")] = 1,
    dry_run: Annotated[bool, typer.Option(help="Print the commands of what is lacking, and run nothing.")] = False,
) -> None:
    """Answer one question: run what has no record yet, keep it in the ledger, write its tables, figures and page."""
    from mmkd.places import Places
    from mmkd.study import load_study, plan_study, run_study

    with refusals():
        found, places = load_study(file), Places.near(file)
        if dry_run:
            planned = plan_study(found, file, places, places.runs if runs else places.records)
            lacking = [each.command for each in planned if each.lacking]
            typer.echo("\n".join(lacking) if lacking else "nothing is lacking")
            return
        for path in run_study(found, file, places, typer.echo, jobs, runs):
            typer.echo(f"wrote {path.relative_to(places.root)}")
