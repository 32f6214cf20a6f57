"""What a sweep costs beside its training: `python -m benchmarks.sweeps` (some 15 minutes on 2 cores).

One side by side: 8 small trials of a sweep, and 8 processes `mmkd run` with live teachers, two at a time as the sweep
has them; teachers have the shapes of BERT-base and ViT-small, as in the other benchmark, the student is small. Then
many tiny trials, for the driver's memory and the disk. All in folders that are thrown away.
"""

from __future__ import annotations

import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.run import ROOT, place
from mmkd.sweep.journal import read_journal
from mmkd.sweep.trials import trials_of

AT_ONCE = 2
TRIALS = 8
TEXT = {"model_type": "bert", "num_attention_heads": 4, "max_position_embeddings": 128}
EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "data": {"market_notes": {"card": "market_notes", "limit": {"train": 256, "validation": 64, "test": 64}}},
    "tasks": {"sentiment": {"kind": "classify"}, "ner": {"kind": "tag"}, "risk": {"kind": "ordinal"}},
    "teachers": {
        "text": {
            "kind": "hf_text",
            "architecture": {**TEXT, "hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072},
            "vocabulary": 2000,
            "tasks": ["sentiment", "ner", "risk"],
            "finetune": {"epochs": 1},
        },
        "image": {
            "kind": "timm",
            "model": "vit_small_patch16_224",
            "size": 96,
            "tasks": ["sentiment", "risk"],
            "finetune": {"epochs": 1},
        },
    },
    "student": {
        "text": {
            "architecture": {**TEXT, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128},
            "vocabulary": 1500,
        },
        "image": {"model": "lcnet_035", "size": 48},
        "width": 64,
    },
    "losses": {
        **{task: {"kind": "supervised", "task": task} for task in ("sentiment", "ner", "risk")},
        **{
            f"text_{task}": {"kind": "logit_kl", "teacher": "text", "task": task}
            for task in ("sentiment", "ner", "risk")
        },
        "image_risk": {"kind": "logit_kl", "teacher": "image", "task": "risk"},
    },
    "weighting": {"kind": "fixed"},
    "train": {"epochs": 4, "batch_size": 32, "threads": 1},
    "seeds": [0],
}
RATES = [round(1e-4 * 10 ** (2 * number / (TRIALS - 1)), 8) for number in range(TRIALS)]


def main(
    many: Annotated[int, typer.Option(help="Tiny trials for memory and disk.")] = 200,
    name: Annotated[str, typer.Option(help="Of the result's files in results/benchmarks.")] = "sweeps",
) -> None:
    """Measure, and write results/benchmarks/<name>.json and .md."""
    with tempfile.TemporaryDirectory(prefix="mmkd-bench-") as folder:
        found = {**side_by_side(Path(folder) / "eight"), **many_trials(Path(folder) / "many", many)}
    about = {"date": datetime.date.today().isoformat(), **place()}
    out = ROOT / "results" / "benchmarks"
    (out / f"{name}.json").write_text(json.dumps({"about": about, "measured": found}, indent=1) + "\n", "utf-8")
    lines = [f"# {name}", "", *(f"- {key}: {value}" for key, value in about.items()), "", "| what | measured | bound |"]
    lines += ["| --- | --: | --: |", *(f"| {what} | {value:.3f} | {bound} |" for what, (value, bound) in found.items())]
    (out / f"{name}.md").write_text("\n".join(lines) + "\n", "utf-8")
    typer.echo("\n".join(lines))


def side_by_side(folder: Path) -> dict[str, tuple[float, str]]:
    """Wall seconds of 8 trials, and of 8 runs with live teachers, in one project whose teachers are trained already."""
    project(folder, EXPERIMENT)
    sweep = {"experiment": "small.yaml", "search": {"kind": "grid"}, "space": {"train.lr": {"choice": RATES}}}
    (folder / "eight.yaml").write_text(json.dumps(sweep), "utf-8")
    mmkd(folder, "run", "small.yaml", "train.epochs=1")  # the teachers are there, for both; the sweep's cache is not
    shutil.rmtree(folder / "results" / "cache" / "teachers")
    begin = time.perf_counter()
    mmkd(folder, "sweep", "eight.yaml")
    swept = time.perf_counter() - begin
    begin = time.perf_counter()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        live = ("train.cache=false",)
        list(pool.map(lambda rate: mmkd(folder, "run", "small.yaml", f"train.lr={rate}", *live), RATES))
    apart = time.perf_counter() - begin
    (journal,) = folder.glob("results/sweeps/*/run1/journal.jsonl")
    trials = trials_of(read_journal(journal)).values()
    later = [trial.seconds - sum(seed.seconds for seed in trial.seeds) for trial in trials if trial.number >= AT_ONCE]
    return {
        "8 trials of a sweep, seconds": (swept, ""),
        "8 runs with live teachers, two at a time, seconds": (apart, ""),
        "ratio": (swept / apart, "≤ 0.3"),
        "seconds of a trial beside its training, after the first ones, median": (statistics.median(later), "≤ 2"),
        "the same, the longest": (max(later), ""),
    }


def many_trials(folder: Path, trials: int) -> dict[str, tuple[float, str]]:
    """MB by which the driver grows with each trial, between the first quarter and the end; MB of the sweep's folder."""
    tiny = json.loads(json.dumps(EXPERIMENT)) | {"teachers": {}, "name": "tiny"}
    tiny["losses"] = {name: loss for name, loss in tiny["losses"].items() if loss["kind"] == "supervised"}
    tiny["data"]["market_notes"]["limit"] = {"train": 16, "validation": 8, "test": 8}
    tiny["train"] |= {"epochs": 1, "preflight": False}
    project(folder, tiny)
    sweep = {"experiment": "tiny.yaml", "search": {"kind": "random"}, "trials": trials}
    sweep["space"] = {"train.lr": {"log_uniform": [1e-4, 1e-2]}}
    (folder / "many.yaml").write_text(json.dumps(sweep), "utf-8")
    driver = subprocess.Popen(command("sweep", "many.yaml"), cwd=folder, env=variables(), stdout=subprocess.DEVNULL)
    seen: list[tuple[int, float]] = []
    watcher = threading.Thread(target=_watch, args=(driver, folder, seen))
    watcher.start()
    driver.wait()
    watcher.join()
    early, late = seen[0], seen[-1]
    first = next(each for each in seen if each[0] >= trials // 4)
    (run,) = folder.glob("results/sweeps/*/run1")
    size = sum(path.stat().st_size for path in run.rglob("*") if path.is_file()) / 1e6
    return {
        "MB by which the driver grows with a trial": ((late[1] - first[1]) / (late[0] - first[0]), "≤ 0.1"),
        "MB of the driver before the first trial": (early[1], ""),
        f"MB on disk after {trials} trials, 3 of them with weights": (size, ""),
    }


def _watch(driver: subprocess.Popen, folder: Path, seen: list[tuple[int, float]]) -> None:
    """Trials that have ended, and the driver's memory then."""
    own = psutil.Process(driver.pid)
    while driver.poll() is None:
        journals = list(folder.glob("results/sweeps/*/run1/journal.jsonl"))
        try:
            memory = own.memory_info().rss / 1e6
            ended = sum(event["event"] == "ended" for event in read_journal(journals[0])) if journals else None
        except (psutil.Error, OSError):
            break
        if ended is not None and (not seen or ended > seen[-1][0]):
            seen.append((ended, memory))
        time.sleep(0.2)


def project(folder: Path, experiment: dict[str, Any]) -> None:
    """A project of its own, with the card of the embedded data set."""
    (folder / "data_cards").mkdir(parents=True)
    shutil.copy(ROOT / "data_cards" / "market_notes.md", folder / "data_cards")
    (folder / f"{experiment['name']}.yaml").write_text(json.dumps(experiment), "utf-8")


def command(*arguments: str) -> list[str]:
    """`mmkd` with these arguments."""
    return [sys.executable, "-m", "mmkd", *arguments]


def variables() -> dict[str, str]:
    """The environment of every process that is measured."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def mmkd(folder: Path, *arguments: str) -> None:
    """Run `mmkd`; its output is seen when it fails."""
    done = subprocess.run(command(*arguments), cwd=folder, env=variables(), capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)


if __name__ == "__main__":
    typer.run(main)
