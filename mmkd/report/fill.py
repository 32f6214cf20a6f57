"""What tables lack: the commands that make it, each once, run one after the other."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from mmkd.interrupt import saves_when_asked, stops_when_asked
from mmkd.report.table import Table


def filling_commands(tables: Iterable[Table]) -> dict[str, list[str]]:
    """Command -> the rows that it fills, as `table NAME, row LABEL`, in the order of the tables.

    A number that no run can give, such as the score of a task that a teacher does not have, is not among them.
    """
    found: dict[str, list[str]] = {}
    for table in tables:
        for row in table.rows:
            for fill in dict.fromkeys(cell.fill for cell in row.cells.values() if cell.fill is not None):
                found.setdefault(fill, []).append(f"table {table.name}, row {row.label}")
    return found


def run_command(command: str, root: Path) -> int:
    """Run an `mmkd` command in the project's folder, in a process of its own; return its exit code.

    Raises Interrupted, once the run has saved what it has, when this process is asked to stop.
    """
    running: list[subprocess.Popen[bytes]] = []

    def ask() -> None:
        for process in running:
            process.terminate()

    with stops_when_asked(ask), saves_when_asked():
        running.append(subprocess.Popen([sys.executable, "-m", *shlex.split(command)], cwd=root))
        return running[0].wait()
