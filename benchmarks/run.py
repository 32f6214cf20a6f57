"""Measure arms side by side: `python -m benchmarks.run` (the whole workload) or `--quick` (a part of it, in minutes).

Each arm is a process of its own, in turn A B A B, with one compute thread. The measure is CPU time of the process, so
that what else runs on the machine stays out of it.
"""

from __future__ import annotations

import datetime
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Column, Table

from benchmarks.arms import ARMS
from benchmarks.summary import HEADINGS, PROMISE_HEADINGS, cells, kept, lines, markdown
from mmkd.environment import code_state, machine, package_versions

ROOT = Path(__file__).parent.parent
QUICK = {"samples": 256, "epochs": 2, "repeats": 2}


def main(
    name: Annotated[str, typer.Option(help="Of the result's files in results/benchmarks.")] = "cpu",
    samples: Annotated[int, typer.Option(help="Pairs of text and image.")] = 2048,
    epochs: Annotated[int, typer.Option(help="Epochs of each arm.")] = 3,
    repeats: Annotated[int, typer.Option(help="Times that all arms run.")] = 3,
    arms: Annotated[str, typer.Option(help="Names with commas; all when empty.")] = "",
    quick: Annotated[bool, typer.Option(help=f"Smaller: {QUICK}.")] = False,
    threads: Annotated[int, typer.Option(help="Compute threads of each arm.")] = 1,
) -> None:
    """Measure, show the table and write it."""
    if quick:
        samples, epochs, repeats = QUICK.values()
    chosen = arms.split(",") if arms else list(ARMS)
    if unknown := [arm for arm in chosen if arm not in ARMS]:
        raise typer.BadParameter(f"unknown arms {unknown}; expected some of {list(ARMS)}")
    console = Console()
    for arm in [arm for arm in chosen if not installed(arm)]:
        console.print(f"{arm}: left out, {ARMS[arm].package} is not installed (pip install 'mmkd\\[bench]')")
        chosen.remove(arm)
    found: list[dict[str, Any]] = []
    about = {"name": name, "samples": samples, "epochs": epochs, "threads": threads, **place()}
    with tempfile.TemporaryDirectory(prefix="mmkd-bench-") as folder, Progress(console=console) as progress:
        bar = progress.add_task("measure", total=repeats * len(chosen))
        for repeat in range(1, repeats + 1):
            for arm in chosen:
                progress.update(bar, description=f"measure {arm:<16}")
                found.append(measured(arm, samples, epochs, Path(folder), threads))
                progress.advance(bar)
            write(name, found, {**about, "repeats": repeat})  # hours of work are not lost with the next repeat
    result = lines(found)
    for line in result:
        console.print(f"{line.arm}: {ARMS[line.arm].what}", highlight=False)
    title = f"CPU time per sample (ms): {samples} samples, {repeats} repeats"
    for headings, rows, name_of in ((HEADINGS, map(cells, result), title), (PROMISE_HEADINGS, kept(found), "promises")):
        columns = [Column(heading, no_wrap=True) for heading in headings]
        table = Table(*columns, title=name_of, box=box.SIMPLE_HEAD, padding=0)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    console.print(f"wrote results/benchmarks/{name}.json and .md")


def write(name: str, found: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write what was measured, and the page about it, into results/benchmarks."""
    out = ROOT / "results" / "benchmarks"
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.json").write_text(json.dumps({"about": about, "measured": found}, indent=1) + "\n", "utf-8")
    (out / f"{name}.md").write_text(markdown(found, about), "utf-8")


def installed(arm: str) -> bool:
    """Whether what the arm measures is installed."""
    package = ARMS[arm].package
    return package is None or importlib.util.find_spec(package) is not None


def measured(arm: str, samples: int, epochs: int, folder: Path, threads: int) -> dict[str, Any]:
    """The measurement of one arm in a process of its own. Raises RuntimeError with what it said when it fails."""
    command = [sys.executable, "-m", "benchmarks.measure", arm, str(samples), str(epochs), str(folder)]
    numbers = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    environment = {**os.environ, **numbers, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"arm {arm} failed:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    if found["rows"] != samples * len(found["cpu"]):
        raise RuntimeError(f"arm {arm} worked on {found['rows']} rows; expected {samples} in each of its epochs")
    return found


def place() -> dict[str, Any]:
    """The machine and the code, as far as times depend on them."""
    import torch

    here, code = machine(torch.device("cpu")), code_state(ROOT)
    return {
        "processor": f"{here.cpu} ({os.cpu_count()} cores, {here.cpu_features})",
        "python": here.python,
        "packages": ", ".join(f"{package} {version}" for package, version in package_versions().items()),
        "commit": f"{code.commit}{'' if code.diff is None else ' with changes'}",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


if __name__ == "__main__":
    typer.run(main)
