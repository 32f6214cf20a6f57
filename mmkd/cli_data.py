"""The commands of `mmkd data`: list, check, show, new, hub, croissant. They import what they need when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmkd.cli_tools import FAILED, REFUSED, refusals

if TYPE_CHECKING:
    from mmkd.data.account import Report
    from mmkd.data.card import Card
    from mmkd.data.dataset import DataSet

SHOWN = 12
"""Findings of one reason that `check` lists before it counts the rest."""

app = typer.Typer(help="Data sets: their cards, their files, and checks of every row.", no_args_is_help=True)
CardName = Annotated[str, typer.Argument(help="A card: its name in data_cards, or a path.")]


@app.command("list")
def list_cards() -> None:
    """Show every card: rows, tasks, modalities, licence, and whether its files are here."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from mmkd.data.card import CardError, data_root, read_card
    from mmkd.data.integrity import missing_files

    console, root = Console(highlight=False), data_root()
    wrong = False
    for path in _paths(None):
        try:
            card = read_card(path)
        except CardError as error:
            console.print(Text(path.stem, "bold"))
            console.print(Padding(Text(str(error)), (0, 0, 0, 4)))
            wrong = True
            continue
        missing = missing_files(card, root)
        files = "made" if not card.files else "here" if not missing else f"{len(missing)} of {len(card.files)} missing"
        rows = "  ".join(f"{split} {count:,}" for split, count in card.splits.items())
        console.print(Text.assemble((f"{card.name:<20}", "bold"), f" {files:<14} {rows}"))
        tasks = ", ".join(f"{task} ({each.kind})" for task, each in card.tasks.items())
        licence = (card.about.model_extra or {}).get("license_name") or card.about.license
        about = f"{' + '.join(card.modalities)}; {tasks or 'no task'}; licence: {licence}"
        console.print(Padding(Text(about, "dim"), (0, 0, 0, 4)))
    console.print(Text("MMKD_DATA is not set" if root is None else f"files below {root}"), soft_wrap=True)
    if wrong:
        raise typer.Exit(FAILED)


@app.command()
def check(
    cards: Annotated[
        list[str] | None, typer.Argument(help="Cards; all whose files are here when none is named.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="List every finding.")] = False,
    reasons: Annotated[bool, typer.Option(help="List what can be found, and what happens then.")] = False,
) -> None:
    """Check cards: their text, their files, and every row; exit 1 when something is refused."""
    from rich.console import Console

    if reasons:
        _print_reasons(Console())
        return
    failed = False
    for path in _paths(cards):
        failed |= not _check_card(path, bool(cards), all_)
    if failed:
        raise typer.Exit(FAILED)


@app.command()
def show(
    name: CardName,
    out: Annotated[Path | None, typer.Option(help="Folder; results/data by default.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows on the contact sheet.")] = 12,
    seed: Annotated[int, typer.Option(min=0, help="Another seed shows other rows.")] = 0,
) -> None:
    """Draw a contact sheet (PNG) of a data set, and write a page of statistics (HTML)."""
    from mmkd.places import Places
    from mmkd.show.contact_sheet import draw
    from mmkd.show.statistics import measure
    from mmkd.show.statistics_page import page

    with refusals():
        card, data, report = _open(_paths([name])[0])
        report.require(card.name)
        folder = out or Places.near(Path.cwd()).root / "results" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        examples = {str(split): list(data.read(split)) for split in card.splits}
        draw(card, examples, folder / f"{card.name}.png", rows, seed)
        findings = {split: {**account.quarantined, **account.accepted} for split, account in report.accounts.items()}
        (folder / f"{card.name}.html").write_text(page(card, measure(card, examples, findings)), "utf-8")
    for ending in ("png", "html"):
        typer.echo(f"wrote {folder / f'{card.name}.{ending}'}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="Name of the card.")],
    files: Annotated[list[Path], typer.Argument(help="Files of the data set, below MMKD_DATA, or one folder.")],
) -> None:
    """Write a card for files: what can be read from them is filled in, the rest is marked TO WRITE."""
    from mmkd.data.new_card import write_card
    from mmkd.places import Places

    with refusals():
        path = write_card(name, files, Places.near(Path.cwd()).root / "data_cards")
    typer.echo(f"wrote {path}; what it cannot know is marked TO WRITE: `mmkd data check {name}` says what is left")


@app.command()
def hub(name: CardName) -> None:
    """Print the keys that the Hugging Face hub reads (`configs`, `dataset_info`), as they follow from the card."""
    from mmkd.data.card import read_card
    from mmkd.data.hub_keys import hub_keys

    with refusals():
        keys = hub_keys(read_card(_paths([name])[0]))
    _print_yaml(keys)


@app.command()
def croissant(name: CardName) -> None:
    """Print the card as Croissant metadata (JSON-LD, https://mlcommons.org/croissant)."""
    import json

    from mmkd.data.card import read_card
    from mmkd.data.croissant import croissant as described

    with refusals():
        typer.echo(json.dumps(described(read_card(_paths([name])[0])), indent=2, ensure_ascii=False))


def _paths(names: list[str] | None) -> list[Path]:
    """The cards of these names; all of the project when none is named."""
    from mmkd.data.card import find_card
    from mmkd.places import Places

    folder = Places.near(Path.cwd()).root
    if names:
        with refusals():
            return [find_card(name, folder) for name in names]
    found = sorted((folder / "data_cards").glob("*.md"))
    if not found:
        typer.echo(f"found no cards in {folder / 'data_cards'}; `mmkd data new` writes one", err=True)
        raise typer.Exit(REFUSED)
    return found


def _check_card(path: Path, named: bool, everything: bool) -> bool:
    """Whether the card, its files and its rows are as they must be; one that was not named may lack its files."""
    from mmkd.data.card import data_root, read_card
    from mmkd.data.card_text import mistakes
    from mmkd.data.integrity import missing_files
    from mmkd.errors import MmkdError

    try:
        card = read_card(path)
        told = list(mistakes(card))
        for mistake in told:
            typer.echo(f"{path}: {mistake}", err=True)
        if missing_files(card, data_root()) and not named:
            typer.echo(f"{card.name}: files are not here; rows were not checked")
            return not told
        card, _, report = _open(path)
    except MmkdError as error:
        typer.echo(str(error), err=True)
        return False
    _print_report(card, report, everything)
    return not told and not any(each.policy == "refuse" for each in report.found)


def _open(path: Path) -> tuple[Card, DataSet, Report]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from mmkd.data.card import data_root, open_source, read_card
    from mmkd.data.dataset import DataSet
    from mmkd.data.integrity import check_files
    from mmkd.places import Places

    card, folder = read_card(path), Places.near(path).cache / "data"
    check_files(card, data_root(), folder / "files")
    data = DataSet(card, open_source(card, {}, data_root()), folder / "checks", {})
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(f"check {card.name}", total=None)
        report = data.report(lambda done, total: progress.update(bar, completed=done, total=total))
    return card, data, report


def _print_report(card: Card, report: Report, everything: bool) -> None:
    from mmkd.data.account import accounted
    from mmkd.data.findings import REASONS

    for line in accounted({f"{card.name}/{split}": account for split, account in report.accounts.items()}):
        typer.echo(line)
    for reason, meaning in REASONS.items():
        found = [each for each in report.found if each.finding.reason == reason]
        if not found:
            continue
        policy = found[0].policy
        typer.echo(f"  {policy}: {len(found):,} x {reason}: {meaning.meaning}")
        shown = found if everything else found[:SHOWN] if policy != "accept" else []
        for each in shown:
            typer.echo(f"    {each.finding}")
        if policy != "accept" and len(shown) < len(found):
            typer.echo(f"    ... and {len(found) - len(shown):,} more; --all lists them")


def _print_reasons(console: Any) -> None:
    from rich import box
    from rich.table import Table

    from mmkd.data.findings import REASONS, allowed

    grid = Table(box=box.SIMPLE_HEAD)
    for name in ("reason", "by default", "can be", "meaning"):
        grid.add_column(name, overflow="fold")
    for reason, each in REASONS.items():
        grid.add_row(reason, each.policy, ", ".join(allowed(reason)), each.meaning)
    console.print(grid)


def _print_yaml(plain: Any) -> None:
    import io

    from ruamel.yaml import YAML

    stream, yaml = io.StringIO(), YAML()
    yaml.default_flow_style = None
    yaml.width = 120
    yaml.dump(plain, stream)
    typer.echo(stream.getvalue(), nl=False)
