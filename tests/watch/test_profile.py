"""A profiled run: the same numbers as any other, and files that say where its time went."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from mmkd import checkpoint
from mmkd.record import RunRecord
from mmkd.run import run_experiment
from mmkd.watch.phases import PHASES
from mmkd.watch.profile import Profile, profiled, read_profile
from tiny_project import experiment, plain_experiment, same_weights

BATCH = ("student", "losses", "backward", "bookkeeping", "optimizer")


def run(plain: dict[str, Any], near: Path, **options: Any) -> tuple[RunRecord, dict[str, torch.Tensor], list[str]]:
    """The first seed's record and weights, and what was said."""
    said: list[str] = []
    records = run_experiment(experiment(plain), near, Progress(disable=True), "c", say=said.append, **options)
    (folder,) = (near.parent / "results" / "runs").glob("tiny-*")
    return records[0], checkpoint.load(folder / "seed0" / "student")[0], said


def test_a_profiled_run_has_the_same_numbers_and_says_where_its_time_goes(project: Path) -> None:
    plain = plain_experiment() | {"seeds": [0]}
    plain["train"] |= {"accumulate": 2, "diagnose_every": 1}
    record, weights, _ = run(plain, project)
    folder = next((project.parent / "results" / "runs").glob("tiny-*")) / "seed0" / "profile"
    assert not folder.exists()
    watched, seen_weights, said = run(plain, project, profile=True)
    assert same_weights(weights, seen_weights)
    assert record.history == watched.history
    assert record.scores == watched.scores
    assert record.predictions == watched.predictions

    found = read_profile(folder)
    assert (found.warm_up, found.batches, found.evaluations) == (3, 3, 2)  # two epochs of three batches
    assert list(found.phases) == list(PHASES)
    assert all(seconds > 0 for seconds in found.phases.values())
    assert found.evaluation > 0
    assert any(found.text() in line for line in said)
    assert (folder / "table.txt").read_text("utf-8").startswith(found.text())
    assert "aten::" in (folder / "table.txt").read_text("utf-8")
    events = json.loads((folder / "trace.json").read_text("utf-8"))["traceEvents"]
    spans = Counter(event["name"] for event in events if event.get("cat") == "user_annotation")
    assert spans["mmkd: losses"] == spans["mmkd: backward"] == 3
    assert spans["mmkd: teachers"] == 6  # two teachers


def stretch(folder: Path, length: int, **options: int) -> Profile:
    """A loop of so many batches, under the profiler."""
    with profiled(folder, [], torch.device("cpu"), **options) as watch:
        watch("loading")
        for _ in range(length):
            for phase in (*BATCH, "loading"):
                watch(phase)
        watch("evaluation")
        watch("bookkeeping")
    return read_profile(folder)


def test_only_the_stretch_is_profiled(tmp_path: Path) -> None:
    assert stretch(tmp_path / "a", 9, warm_up=2, batches=4).batches == 4
    assert stretch(tmp_path / "b", 5, warm_up=2, batches=4).batches == 3


def test_a_run_that_ends_while_warming_up_says_so(tmp_path: Path) -> None:
    found = stretch(tmp_path, 2, warm_up=2, batches=4)
    assert (found.batches, found.evaluations) == (0, 1)
    assert "over 0 after 2" in found.text()
