"""The teachers: what each says of a row, whatever stands beside it; frozen; and its classes in the task's order."""

from __future__ import annotations

import numpy as np
import torch

from mmkd.data.batches import to_device
from mmkd.data.corpus import Corpus, Readers
from mmkd.preflight.classes import suspected
from mmkd.preflight.found import Finding, Report, named
from mmkd.preflight.networks import Asked, check_frozen, check_words
from mmkd.preflight.rows import Drawn, drawn_rows
from mmkd.tasks.base import Task
from mmkd.teachers.base import Speaker
from mmkd.types import rows_of
from mmkd.workspace import Workspace

CLASSES = "a teacher's classes are those of the labels"
AT_ONCE = 32


def inspect_network(workspace: Workspace, name: str, teacher: Speaker, corpus: Corpus) -> None:
    """Look at a teacher before the cache keeps what it says. corpus: the training rows, as it reads them.

    Raises PreflightError when it does not do what a teacher promises.
    """
    report, seed = Report(), workspace.experiment.seeds[0]
    drawn = drawn_rows(workspace.mix.training(Readers({}, {})), seed)
    check_teacher(workspace, name, teacher, corpus, drawn, seed, report)
    report.require()


def check_teacher(
    workspace: Workspace, name: str, teacher: Speaker, corpus: Corpus, drawn: Drawn, seed: int, report: Report
) -> None:
    """All that a teacher promises, live or cached. Leaves torch's random state as it was."""
    who = named("teachers", name, workspace.experiment.teachers[name].kind)
    device = workspace.accelerator.device
    asked = Asked(who, teacher, corpus, drawn.batch, workspace.tasks, device)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if check_frozen(asked, report):  # a network that trains says other words each time
            check_words(asked, report, seed)
            check_classes(asked, drawn.labelled, report)


def check_classes(asked: Asked, rows: np.ndarray, report: Report) -> None:
    """For each task over classes, what the teacher names beside what the labels say. rows: labelled ones."""
    labels: dict[str, list[np.ndarray]] = {}
    said: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(rows), AT_ONCE):
        batch = to_device(asked.corpus.batch(rows[start : start + AT_ONCE]), asked.device)
        with torch.no_grad():
            outputs = asked.network(batch)
        for name, logits in outputs.logits.items():
            task = asked.tasks[name]
            if task.config.logits == "classes":
                both = rows_of(task.level, batch, outputs) & task.labelled_rows(batch) & (batch.labels[name] >= 0)
                labels.setdefault(name, []).append(batch.labels[name][both].numpy(force=True))
                said.setdefault(name, []).append(logits[both].argmax(-1).numpy(force=True))
    for name, found in labels.items():
        mistakes = list(_mistaken(asked.who, asked.tasks[name], np.concatenate(found), np.concatenate(said[name])))
        report.add(CLASSES, asked.who, mistakes)


def _mistaken(who: str, task: Task, labels: np.ndarray, said: np.ndarray) -> list[Finding]:
    renamed = suspected(labels, said, len(task.labels))
    if renamed is None:
        return []
    names = ", ".join(
        f"{task.labels[own]} for {task.labels[other]}" for own, other in enumerate(renamed.names) if own != other
    )
    found = (
        f"on {len(labels)} rows with a label of {task.name} it is right in {renamed.as_is:.0%} of each class, where "
        f"chance is {renamed.chance:.0%}; with other names for its classes, in {renamed.best:.0%}: it says {names}"
    )
    advice = f"compare the order of its classes with `tasks.{task.name}.labels`: {', '.join(task.labels)}"
    return [Finding(who, found, "its classes in the order of the task's", advice)]
