"""What the commands have in common: exit codes, errors that a user can mend, progress bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

REFUSED = 2
"""Exit code when a file, an override or the data is not as it must be, and nothing was run."""
FAILED = 1
"""Exit code when a check found something, or a run broke off."""


@contextmanager
def refusals() -> Iterator[None]:
    """Turn what a user can mend into its message and an exit code; anything else is a bug and shows its traceback."""
    from mmkd.errors import CheckFailed, MmkdError

    try:
        yield
    except CheckFailed as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(FAILED) from None
    except MmkdError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(REFUSED) from None


@contextmanager
def progress_bars(stderr: bool = False) -> Iterator[tuple[Console, Callable[[Any], None], Progress]]:
    """A console, a function that says a line above the bars, and the bars.

    Of several processes that a launcher started, the first one speaks for all.
    """
    import os

    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from mmkd.environment import quiet_hubs

    quiet_hubs()
    console = Console(stderr=stderr, quiet=os.environ.get("RANK", "0") != "0")
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        # A command that is printed must be one line, to be copied.
        yield console, partial(console.print, markup=False, highlight=False, soft_wrap=True), progress
