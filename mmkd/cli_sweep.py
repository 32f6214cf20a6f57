"""`mmkd sweep FILE` and `mmkd sweep show FILE`; each imports its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mmkd.cli_tools import progress_bars, refusals


class _FileOrCommand(TyperGroup):
    """`mmkd sweep FILE` is `mmkd sweep run FILE`."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """A first word that is no command, nor an option of this group, is the file."""
        if arguments and arguments[0] not in {*self.commands, "--help"}:
            arguments = ["run", *arguments]
        return super().parse_args(context, arguments)


app = typer.Typer(
    cls=_FileOrCommand,
    no_args_is_help=True,
    help="Search over an experiment's keys: `mmkd sweep FILE`; look at what was found: `mmkd sweep show FILE`.",
)
SweepFile = Annotated[Path, typer.Argument(help="Sweep file (YAML).")]


@app.command()
def run(
    file: SweepFile,
    fresh: Annotated[bool, typer.Option(help="Begin anew, though there is one to go on with.")] = False,
    address: Annotated[str | None, typer.Option(help="Of a running Ray cluster; `auto`: the one found here.")] = None,
) -> None:
    """Search with Ray Tune, or go on with an unfinished search; write the winner as an experiment file."""
    from mmkd.config.section_file import load_section
    from mmkd.config.sweep_file import Sweep

    with refusals():
        sweep = load_section(file, Sweep)
    with refusals(), progress_bars() as (_, say, progress):
        from mmkd.sweep.run import run_sweep

        run_sweep(sweep, file, progress, say, fresh, address)


@app.command()
def show(
    file: SweepFile,
    run: Annotated[str | None, typer.Option(help="Which run: run1, run2, ...; the newest when none is named.")] = None,
) -> None:
    """Show what a sweep has found so far, while it runs too: table, figures, one HTML page."""
    from mmkd.config.section_file import load_section
    from mmkd.config.sweep_file import Sweep

    with refusals(), progress_bars() as (_, say, _):
        sweep = load_section(file, Sweep)
        from mmkd.sweep.look import look

        look(sweep, file, run, say)


def is_sweep(file: Path) -> bool:
    """Whether a file is one of a sweep, not of an experiment."""
    from mmkd.config.document import read_file

    root, _ = read_file(file)
    return isinstance(root.value, dict) and "space" in root.value


def plan_of_sweep(file: Path, measure: bool, as_json: bool) -> None:
    """`mmkd plan` of a sweep file."""
    import json
    from dataclasses import asdict

    from mmkd.config.section_file import load_section
    from mmkd.config.sweep_file import Sweep

    with refusals(), progress_bars(stderr=as_json) as (console, _, progress):
        sweep = load_section(file, Sweep)
        from mmkd.sweep.plan import plan_sweep, shown_sweep

        found = plan_sweep(sweep, file, progress, measure)
    if as_json:
        typer.echo(json.dumps(asdict(found), indent=1))
    else:
        console.print(shown_sweep(found))
