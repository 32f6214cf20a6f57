"""The commands of `mmkd cache`: build, list, show, verify, gc. Only what asks a teacher imports torch."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmkd.cli_tools import FAILED, progress_bars, refusals

if TYPE_CHECKING:
    from rich.progress import Progress

    from mmkd.cache.catalogue import Found

app = typer.Typer(help="What teachers said: stored once, read by every seed and trial.", no_args_is_help=True)
ExperimentFile = Annotated[Path, typer.Argument(help="Experiment file (YAML).")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[a.b=c]...", help="Keys to set otherwise.")]


@app.command()
def build(file: ExperimentFile, overrides: Overrides = None) -> None:
    """Build every entry that an experiment reads, without training its student; an interrupted build goes on."""
    with refusals(), progress_bars() as (_, _, progress):
        _ask(file, overrides, None, progress)
    typer.echo("every entry is there, and a share of its rows was compared with the live teacher")


@app.command("list")
def list_entries() -> None:
    """Show every entry: teacher, rows, type, size, age, last use, and whether it is whole."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from mmkd.cache.catalogue import GIGABYTE, entries

    folder, now = _folder(), datetime.datetime.now(datetime.UTC)
    found = entries(folder)
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("key", "teacher", "data", "view", "dtype", "rows", "MB", "made", "used", "state"):
        table.add_column(name, justify="right" if name in {"rows", "MB"} else "left", overflow="fold")
    for each in found:
        table.add_row(*_cells(each, now))
    Console().print(table)
    typer.echo(f"{len(found)} entries, {sum(each.bytes for each in found) / GIGABYTE:.2f} GB in {folder}")


@app.command()
def show(key: Annotated[str, typer.Argument(help="Key of an entry, or its beginning.")]) -> None:
    """Show what an entry depends on, its arrays, and what storing lost."""
    from mmkd.cache.catalogue import find, lost_lines

    with refusals():
        found = find(_folder(), key)
    typer.echo(f"{found.folder.name}: {found.state}, {found.bytes / 1e6:,.1f} MB")
    if found.problem is not None or found.start is None:
        typer.echo(found.problem, err=True)
        raise typer.Exit(FAILED)
    typer.echo(f"{found.start.about}, {found.start.rows:,} rows\ndepends on")
    for name, part in found.start.parts.items():
        typer.echo(f"  {name:<12} {part}")
    manifest = found.manifest
    if manifest is None:
        return
    typer.echo(
        f"made {manifest.made} in {manifest.seconds:.1f} s: {len(manifest.shards)} shards, {manifest.words:,} words"
    )
    for name, array in manifest.shards[0].arrays.items() if manifest.shards else ():
        shape = ", ".join(["word" if array.ragged else "row", *map(str, array.shape)])
        typer.echo(f"  {name:<24} {array.kind:<6} [{shape}]")
    typer.echo("lost by storing" if manifest.lost else "nothing was lost by storing")
    for line in lost_lines(manifest).values():
        typer.echo(f"  {line}")


@app.command()
def verify(
    key: Annotated[str | None, typer.Argument(help="Key of an entry, or its beginning; all by default.")] = None,
    live: Annotated[Path | None, typer.Option(help="Ask the teachers of this experiment file again.")] = None,
    share: Annotated[float, typer.Option(min=0.0, max=1.0, help="Of the rows, those asked for with --live.")] = 0.05,
) -> None:
    """Read every byte of the entries and compare its sha256; exit 1 when one is damaged."""
    from mmkd.cache.catalogue import entries, find
    from mmkd.cache.entry import damage

    with refusals():
        chosen = entries(_folder()) if key is None else [find(_folder(), key)]
    problems = 0
    for each in chosen:
        problem = each.problem if each.manifest is None else damage(each.folder, each.manifest)
        name = each.folder.name if each.start is None else f"{each.folder.name} ({each.start.about})"
        problems += problem is not None
        typer.echo(
            f"{name}: {problem or (each.state if each.manifest is None else 'as written')}", err=problem is not None
        )
    if live is not None:
        with refusals(), progress_bars() as (_, _, progress):
            _ask(live, None, share, progress)
        typer.echo(f"the live teachers say the same of {share:.0%} of the rows")
    if problems:
        raise typer.Exit(FAILED)


@app.command()
def gc(
    unused: Annotated[float | None, typer.Option(min=0.0, help="Drop what was not used for so many days.")] = None,
    budget: Annotated[float | None, typer.Option(min=0.0, help="Keep at most so many GB, those used last.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; otherwise only say what would be deleted.")] = False,
) -> None:
    """Drop partial and damaged entries, and with --unused or --budget others; entries in use stay."""
    from mmkd.cache.catalogue import GIGABYTE, delete, dropped

    bytes_ = None if budget is None else budget * GIGABYTE
    found = dropped(_folder(), unused, bytes_, datetime.datetime.now(datetime.UTC))
    for folder, why in found.items():
        if not yes:
            typer.echo(f"would drop {folder.name}: {why}")
        elif delete(folder):
            typer.echo(f"dropped {folder.name}: {why}")
        else:
            typer.echo(f"kept {folder.name}: a process uses it ({why})")
    if not found:
        typer.echo("nothing to drop")
    elif not yes:
        typer.echo("nothing was deleted; --yes deletes")


def _folder() -> Path:
    from mmkd.places import Places

    return Places.near(Path.cwd()).cache / "teachers"


def _cells(found: Found, now: datetime.datetime) -> list[str]:
    size, used = f"{found.bytes / 1e6:,.1f}", _ago(found.used, now)
    start, manifest = found.start, found.manifest
    if start is None:
        return [found.folder.name[:8], "?", "?", "?", "?", "?", size, "?", used, found.state]
    about = start.about
    view = "" if about.view is None else str(about.view)
    made = "" if manifest is None else _ago(datetime.datetime.fromisoformat(manifest.made), now)
    data = f"{about.data}/{about.split}"
    return [
        found.folder.name[:8],
        about.teacher,
        data,
        view,
        about.dtype,
        f"{start.rows:,}",
        size,
        made,
        used,
        found.state,
    ]


def _ago(then: datetime.datetime, now: datetime.datetime) -> str:
    hours = (now - then).total_seconds() / 3600
    return (
        f"{hours / 24:.0f} d ago"
        if hours >= 48
        else f"{hours:.0f} h ago"
        if hours >= 1
        else f"{hours * 60:.0f} min ago"
    )


def _ask(file: Path, overrides: list[str] | None, share: float | None, progress: Progress) -> None:
    """Build what is not there, and compare a share of the rows with the live teachers."""
    from mmkd.config.load import load
    from mmkd.data.cards import read_cards
    from mmkd.errors import MmkdError

    experiment = load(file, overrides or [], read_cards)
    if not experiment.train.cache:
        raise MmkdError(f"{file}: `train.cache` is false: its teachers run live, and nothing is stored")
    from mmkd.ready import make_ready
    from mmkd.speakers import speakers

    ready = make_ready(experiment, file, progress)
    if share is not None:
        speakers(ready.workspace, ready.prepared, share)
