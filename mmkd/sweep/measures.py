"""The objectives of a trial's seed: scores on validation, and what the trained student costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmkd.cache.speak import CachedTeacher, CachedViews
from mmkd.data.batches import to_device
from mmkd.ready import Ready
from mmkd.record import RunRecord
from mmkd.student.stored import read_student
from mmkd.student.student import Student
from mmkd.watch.flops import FlopCount

ROWS, WARM_UP = 32, 5
"""Validation rows that a student's costs are measured on, and passes before its latency is."""


def objective_of(entry: Mapping[str, Any], name: str) -> float:
    """A score of a history entry: `validation.mean_score`, or `validation.<task>.<metric>`.

    Raises KeyError for a task or a metric that the experiment does not have.
    """
    path = name.split(".")[1:]
    if path == ["mean_score"]:
        return float(entry["mean_score"])
    task, metric = path
    return float(entry["validation"][task][metric])


def best_so_far(history: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """After each epoch, the score of the epoch that a run which ends there keeps: the first of the best mean score."""
    found: list[float] = []
    best = -float("inf")
    for entry in history:
        if entry["mean_score"] > best:
            best = entry["mean_score"]
            found.append(objective_of(entry, name))
        else:
            found.append(found[-1])
    return found


def seconds_of(record: RunRecord) -> float:
    """Seconds of training and evaluation, since the last interruption if there was one."""
    return record.seconds["train"] + record.seconds["evaluate"]


def objectives_of(names: Sequence[str], record: RunRecord, folder: Path, ready: Ready) -> dict[str, float]:
    """Every objective of a seed, by name. folder: of the seed.

    Raises KeyError for a score that the record does not have.
    """
    found: dict[str, float] = {}
    kept = next(entry for entry in record.history if entry["epoch"] == record.selection.epoch)
    for name in names:
        if name.startswith("validation."):
            found[name] = objective_of(kept, name)
        elif name == "parameters":
            found[name] = float(record.parameters)
        elif name == "cache_bytes":
            found[name] = float(sum(cached_bytes(speaker) for speaker in ready.teachers.values()))
        elif name == "seconds":
            found[name] = seconds_of(record)
        else:
            student = read_student(folder).student({}).to(ready.workspace.accelerator.device).eval()
            found[name] = flops(student, ready) if name == "flops" else latency(student, ready)
    return found


def cached_bytes(speaker: object) -> int:
    """Bytes of the cache entries that a teacher speaks from; 0 for one that runs live."""
    views = speaker.views.values() if isinstance(speaker, CachedViews) else [speaker]
    return sum(view.reader.bytes for view in views if isinstance(view, CachedTeacher))


def flops(student: Student, ready: Ready) -> float:
    """Floating-point operations of one example, a mean over the first rows of validation; a multiply-add is two."""
    corpus = ready.workspace.mix.split("validation", ready.workspace.reader("student"))
    rows = torch.arange(min(ROWS, len(corpus))).numpy()
    batch = to_device(corpus.batch(rows), ready.workspace.accelerator.device)
    with torch.no_grad(), FlopCount() as count:
        count.begin("forward")
        student(batch)
    return count.flops["forward"] / len(rows)


def latency(student: Student, ready: Ready) -> float:
    """Milliseconds for one example by itself: the median over the first rows of validation."""
    workspace = ready.workspace
    corpus = workspace.mix.split("validation", workspace.reader("student"))
    times = []
    with torch.no_grad():
        for row in range(min(ROWS, len(corpus))):
            batch = to_device(corpus.batch(torch.tensor([row]).numpy()), workspace.accelerator.device)
            for _ in range(WARM_UP if row == 0 else 1):
                begin = time.perf_counter()
                student(batch)
                if workspace.accelerator.device.type == "cuda":
                    torch.cuda.synchronize()
            times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)
