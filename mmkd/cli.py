"""The command line: check, plan, run, soup, sweep, keep, tables, figures, report and more; each imports its own."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmkd.cli_cache import app as cache_app
from mmkd.cli_data import app as data_app
from mmkd.cli_report import report
from mmkd.cli_study import study
from mmkd.cli_sweep import app as sweep_app
from mmkd.cli_sweep import is_sweep, plan_of_sweep
from mmkd.cli_tools import FAILED, REFUSED, progress_bars, refusals
from mmkd.interrupt import stops_when_asked
from mmkd.secrets import redact_output

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mmkd.config.experiment import Experiment
    from mmkd.config.section import Section

app = typer.Typer(
    help="Multimodal, multi-task knowledge distillation: several teachers, one student, tables from records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data_app, name="data")
app.add_typer(cache_app, name="cache")
app.add_typer(sweep_app, name="sweep")
app.command()(report)
app.command()(study)
ExperimentFile = Annotated[Path, typer.Argument(help="Experiment file (YAML).")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Keys to set otherwise.")]


def main() -> None:
    """Entry point of the `mmkd` command."""
    # Plug-ins of one's own are importable from where the command is called, as with `python -m`.
    sys.path.insert(0, str(Path.cwd()))
    redact_output()
    app()


@app.command()
def check(
    file: ExperimentFile,
    overrides: Overrides = None,
    deep: Annotated[bool, typer.Option(help="Make it ready, then try a few rows on all that takes part.")] = False,
) -> None:
    """Report every mistake of an experiment file at once, before anything runs."""
    experiment = _load(file, overrides)
    count = f"{len(experiment.teachers)} teachers, {len(experiment.losses)} losses, {len(experiment.tasks)} tasks"
    typer.echo(f"{file}: no mistakes ({count}, seeds {list(experiment.seeds)})")
    if deep:
        with refusals(), progress_bars() as (console, _, progress):
            from mmkd.deep_check import deep_check
            from mmkd.preflight.show import shown

            report = deep_check(experiment, file, progress)
            console.print(shown(report))
            report.require()


@app.command()
def schema(
    of: Annotated[Literal["experiment", "sweep", "study", "table"], typer.Argument(help="Which files.")] = "experiment",
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Print the JSON Schema of experiment files, or others, which editors complete from."""
    import json

    from mmkd.config.schema import json_schema, section_schema
    from mmkd.config.study_file import Study
    from mmkd.config.sweep_file import Sweep
    from mmkd.report.table_file import TableFile

    sections: dict[str, type[Section]] = {"sweep": Sweep, "study": Study, "table": TableFile}
    found = json_schema() if of == "experiment" else section_schema(sections[of])
    _print_or_write(json.dumps(found, indent=2) + "\n", out)


@app.command()
def methods(
    out: Annotated[Path | None, typer.Option(help="Write to this file instead of the terminal.")] = None,
) -> None:
    """Print the page of all losses and weightings: source, formula, keys, needs, as docs/methods.md has it."""
    from mmkd.config.methods import methods_page

    _print_or_write(methods_page(), out)


@app.command()
def plan(
    file: ExperimentFile,
    overrides: Overrides = None,
    measure: Annotated[bool, typer.Option(help="Time a few real steps on networks that are thrown away.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")] = False,
) -> None:
    """Say what a run, or a sweep, will compute before anything runs: passes, bytes, time, memory, other choices."""
    if not overrides and is_sweep(file):
        plan_of_sweep(file, measure, as_json)
        return
    experiment = _load(file, overrides)
    with refusals(), progress_bars(stderr=as_json) as (console, _, progress):
        from mmkd.plan.plan import plan_experiment
        from mmkd.plan.show import shown, to_json

        found = plan_experiment(experiment, file, progress, measure)
    if as_json:
        typer.echo(to_json(found))
    else:
        console.print(shown(found))


@app.command()
def run(
    file: ExperimentFile,
    overrides: Overrides = None,
    fresh: Annotated[bool, typer.Option(help="Run again what has finished already.")] = False,
    jobs: Annotated[int, typer.Option(min=1, help="Seeds that run at the same time, each in its own process.")] = 1,
    profile: Annotated[bool, typer.Option(help="Run the first seed, and say where the time of a batch goes.")] = False,
    verify: Annotated[bool, typer.Option(help="FILE is a run record: run its seed again, and compare.")] = False,
) -> None:
    """Run an experiment for each of its seeds, and show the test scores."""
    if verify:
        _verify(file, bool(overrides) or fresh or profile or jobs > 1)
        return
    experiment = _load(file, overrides)
    command = shlex.join(["mmkd", "run", file.as_posix(), *(overrides or [])])
    with refusals(), stops_when_asked(), progress_bars() as (console, say, progress):
        from mmkd.report.show import score_table
        from mmkd.run import run_experiment

        records = run_experiment(experiment, file, progress, command, fresh, jobs, say, profile)
    console.print(score_table(records))


def _verify(file: Path, more: bool) -> None:
    """Exit code 0: all numbers came out again. 1: some did not."""
    if more:
        typer.echo("--verify takes a record and nothing else: the record says all that is run", err=True)
        raise typer.Exit(REFUSED)
    with refusals(), progress_bars() as (console, say, progress):
        from mmkd.report.verification import verification_table
        from mmkd.verify import verify_record

        command = shlex.join(["mmkd", "run", "--verify", file.as_posix()])
        found = verify_record(file, progress, command, say)
    console.print(verification_table(found))
    if not found.holds:
        raise typer.Exit(FAILED)


@app.command()
def soup(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or of single seeds of them.")],
    name: Annotated[str, typer.Option(help="What the new student is called in records and tables.")],
    greedy: Annotated[bool, typer.Option(help="Keep only students that do not lower the validation score.")] = False,
) -> None:
    """Average the weights of students of one start (a model soup); write the mean as a student with a record."""
    command = shlex.join(["mmkd", "soup", *runs, "--name", name, *(["--greedy"] if greedy else [])])
    with refusals(), progress_bars() as (console, say, progress):
        from mmkd.report.show import score_table
        from mmkd.soup import make_soup

        recipe: Literal["uniform", "greedy"] = "greedy" if greedy else "uniform"
        record = make_soup(runs, name, recipe, Path.cwd(), progress, command, say)
    console.print(score_table([record]))


@app.command()
def keep(
    names: Annotated[list[str] | None, typer.Argument(help="Experiments to keep; all when none is named.")] = None,
    replace: Annotated[bool, typer.Option(help="Replace records of the same name in the ledger.")] = False,
    allow_dirty: Annotated[bool, typer.Option(help="Keep records of code that was not committed.")] = False,
    variants: Annotated[bool, typer.Option(help="Keep runs of other values of the experiments' keys, too.")] = False,
) -> None:
    """Copy records of finished runs from results/runs into the ledger, results/records."""
    from mmkd.places import Places
    from mmkd.report.keep import keep as keep_records

    places = Places.near(Path.cwd())
    with refusals():
        kept = keep_records(places.runs, places.records, names, allow_dirty, replace, variants)
    for path in kept:
        typer.echo(f"kept {path.relative_to(places.root)}")


@app.command()
def tables(
    check: Annotated[
        bool, typer.Option(help="Change nothing; fail when a table does not follow from its records.")
    ] = False,
    runs: Annotated[
        bool, typer.Option(help="From the scratch runs, into results/runs/tables; the ledger stays.")
    ] = False,
    show: Annotated[str | None, typer.Option(help="Show this table in the terminal.")] = None,
    fill: Annotated[
        bool, typer.Option(help="Run what the tables lack; their records go to results/runs. Writes no table.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="With --fill: print the commands, and run nothing.")] = False,
) -> None:
    """Regenerate every table of results/tables from the records of the ledger."""
    if sum((check, show is not None, fill)) > 1 or (dry_run and not fill) or (check and runs):
        typer.echo(
            "--check, --show and --fill go one at a time; --dry-run goes with --fill; --check reads the ledger",
            err=True,
        )
        raise typer.Exit(REFUSED)
    from rich.console import Console

    from mmkd.places import Places
    from mmkd.report.fill import filling_commands
    from mmkd.report.show import print_table
    from mmkd.report.tables import check_tables, table_of, tables_of, write_tables

    places = Places.near(Path.cwd())
    records, out = (places.runs, places.runs / "tables") if runs else (places.records, places.tables)
    with refusals():
        if check:
            _verdict(check_tables(places.tables, places.records, places.root), "every table follows from its records")
            return
        if fill:
            _fill(filling_commands(tables_of(places.tables, records)), places.root, dry_run)
            return
        for path in write_tables(places.tables, records, out):
            typer.echo(f"wrote {path.relative_to(places.root)}")
        if show is not None:
            print_table(table_of(places.tables / f"{show}.yaml", records), Console())


@app.command()
def figures(
    check: Annotated[
        bool, typer.Option(help="Change nothing; fail when a figure does not follow from its records.")
    ] = False,
    runs: Annotated[
        bool, typer.Option(help="From the scratch runs, into results/runs/figures; the ledger stays.")
    ] = False,
) -> None:
    """Draw every figure of results/figures from the records of the ledger."""
    if check and runs:
        typer.echo("--check reads the ledger, --runs the scratch runs; give one of them", err=True)
        raise typer.Exit(REFUSED)
    from mmkd.places import Places
    from mmkd.report.figures.write import check_figures, write_figures

    places = Places.near(Path.cwd())
    records, out = (places.runs, places.runs / "figures") if runs else (places.records, places.figures)
    with refusals():
        if check:
            _verdict(check_figures(places.figures, places.records), "every figure follows from its records")
            return
        for path in write_figures(places.figures, records, out):
            typer.echo(f"wrote {path.relative_to(places.root)}")


def _verdict(problems: Sequence[str], good: str) -> None:
    """Say every problem and fail, or say that there is none."""
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(FAILED)
    typer.echo(good)


def _fill(commands: Mapping[str, Sequence[str]], root: Path, dry_run: bool) -> None:
    """Run the commands in the project's folder, one after the other; the first that fails gives its exit code."""
    from mmkd.report.fill import run_command

    for command, rows in commands.items():
        typer.echo(f"{command}    # {'; '.join(rows)}")
        if not dry_run:
            sys.stdout.flush()  # before what the run says
            code = run_command(command, root)
            if code:
                raise typer.Exit(code)
    typer.echo("nothing is lacking" if not commands else "then `mmkd keep NAME --variants` and `mmkd tables`", err=True)


def _print_or_write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text, "utf-8")


def _load(file: Path, overrides: list[str] | None) -> Experiment:
    from mmkd.config.load import load
    from mmkd.data.cards import read_cards

    with refusals():
        return load(file, overrides or [], read_cards)
