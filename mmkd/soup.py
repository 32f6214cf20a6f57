"""The mean of several students' weights: model soups (Wortsman and others, 2203.05482).

`uniform` takes the mean of all. `greedy` (the paper's recipe, section 2) takes the students by their validation score,
the best first, and keeps one in the mean where the validation score does not fall by it. Only students of one start are
averaged: networks that started from other random weights have other hidden features in the same places, so that their
mean is no network. Running statistics of batch norms are averaged as the weights are.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from rich.progress import Progress
from torch import Tensor

from mmkd import checkpoint
from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain
from mmkd.errors import MmkdError
from mmkd.evaluate import evaluate
from mmkd.openings import note_opening
from mmkd.plan.passes import flops_of
from mmkd.record import RunRecord, Soup, read_record
from mmkd.run import run_folder
from mmkd.student.stored import FOLDER, Stored, find_student, save_student
from mmkd.train import Trained
from mmkd.workspace import Workspace, open_workspace
from mmkd.write_up import RECORD, Clock, Made, write_up

Recipe = Literal["uniform", "greedy"]


class SoupError(MmkdError):
    """Students cannot be averaged; the message says which, and why."""


@dataclass(frozen=True)
class Member:
    """A student that may take part: its record, what is stored of it, and its weights."""

    record: RunRecord
    stored: Stored
    weights: dict[str, Tensor]


def make_soup(
    runs: Sequence[str],
    name: str,
    recipe: Recipe,
    near: Path,
    progress: Progress,
    command: str,
    say: Callable[[str], None] = print,
) -> RunRecord:
    """Average the students of runs, evaluate the mean, and write it as a run's student with a record of its own.

    runs: folders of seeds, or of a run, which stand for all its seeds. name: of the new student; its seed is the first
    one's. near: the project's folder, or a file in it. The test split is opened once, for the mean alone.
    Raises SoupError for students that cannot be averaged, CheckpointError for one that is not whole.
    """
    members = [_member(folder) for each in runs for folder in _seeds(each)]
    _require_alike(members)
    clock, first = Clock(), members[0]
    experiment = from_plain({**first.record.experiment, "name": name})
    workspace = _opened(experiment, first.record, near, progress)
    device, readers = workspace.accelerator.device, first.stored.readers
    validation, student = workspace.mix.split("validation", readers), first.stored.student({}).to(device)

    def score(some: Sequence[Member]) -> float:
        student.load_state_dict(mean_of([member.weights for member in some]))
        return evaluate(student, validation, workspace.tasks, device).mean_score()

    chosen = members if recipe == "uniform" else greedy(members, score)
    value = score(chosen)
    clock.lap("soup")
    folder = run_folder(experiment, near) / f"seed{first.record.seed}"
    if (folder / RECORD).exists() and read_record(folder / RECORD).soup is None:
        raise SoupError(f"--name: found `{name}`, which a run has in {folder}; expected a name of its own")
    note_opening(folder.parent, folder.name, command)
    with workspace.mix.test_opened():
        corpora = {"validation": validation, "test": workspace.mix.split("test", readers)}
        splits = {split: evaluate(student, corpus, workspace.tasks, device) for split, corpus in corpora.items()}
    clock.lap("evaluate")
    used = [member.record for member in chosen]
    say(f"the mean of {len(used)} of {len(members)} students: {', '.join(record.file_name for record in used)}")
    say(f"results go to {os.path.relpath(folder)}")
    shutil.rmtree(folder, ignore_errors=True)
    save_student(folder, student, readers, {"soup": recipe})
    soup = Soup(recipe=recipe, asked=_digests([m.record for m in members]), used=_digests(used))
    trained = Trained(first.record.selection.epoch, value, {}, [])
    flops = flops_of(student, validation, device)
    made = Made(student, trained, splits, first.record.seed, None, first.record.start, flops, 0, soup)
    teachers = {name: identity for member in members for name, identity in member.record.teachers.items()}
    return write_up(workspace, teachers, made, folder, command, clock.laps)


def greedy(members: Sequence[Member], score: Callable[[Sequence[Member]], float]) -> list[Member]:
    """Those whose mean has the best score that the greedy recipe finds. score: of a mean, on validation."""
    alone = {id(member): score([member]) for member in members}
    best, *others = sorted(members, key=lambda member: -alone[id(member)])
    chosen, value = [best], alone[id(best)]
    for member in others:
        if (found := score([*chosen, member])) >= value:
            chosen, value = [*chosen, member], found
    return chosen


def mean_of(weights: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each weight, in double precision before it is rounded once; whole numbers are the first's."""
    return {
        name: torch.stack([each[name].double() for each in weights]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in weights[0].items()
    }


def _digests(records: Sequence[RunRecord]) -> dict[str, str]:
    return {record.digest: record.file_name for record in records}


def _seeds(named: str) -> list[Path]:
    """The folders of seeds that a name stands for."""
    folder = Path(named)
    found = sorted(folder.glob(f"seed*/{RECORD}"), key=lambda path: read_record(path).seed)
    return [path.parent for path in found] or [folder]


def _member(folder: Path) -> Member:
    stored = find_student(str(folder), "soup")
    return Member(read_record(stored.folder / RECORD), stored, checkpoint.load(stored.folder / FOLDER)[0])


def _require_alike(members: Sequence[Member]) -> None:
    """Raises SoupError for fewer than two students, and for those that differ in start, data, tasks or network."""
    if len({member.stored.sha256 for member in members}) < 2:
        raise SoupError(f"found {len(members)} students; expected two or more that differ")
    first = members[0]
    for member in members[1:]:
        pair = f"{first.stored.folder} and {member.stored.folder}"
        if member.record.data != first.record.data:
            raise SoupError(f"{pair}: their data differ; expected students of the same rows")
        shapes = [{name: value.shape for name, value in each.weights.items()} for each in (first, member)]
        tasks = [{n: (t.config, t.labels) for n, t in each.stored.tasks.items()} for each in (first, member)]
        if shapes[0] != shapes[1] or tasks[0] != tasks[1]:
            raise SoupError(f"{pair}: their networks or tasks differ; expected students of one architecture")
        if first.record.start is None or member.record.start != first.record.start:
            raise SoupError(
                f"{pair}: they started from different weights, so that their mean is no network; expected students of "
                "one start, for example seeds of a run with `student.start`, or runs of one seed that differ in "
                "`losses` or `train`"
            )


def _opened(experiment: Experiment, record: RunRecord, near: Path, progress: Progress) -> Workspace:
    """Raises SoupError when the data are no longer those of the record."""
    if experiment.train.threads is not None:
        torch.set_num_threads(experiment.train.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    workspace = open_workspace(experiment, near, progress)
    if workspace.mix.fingerprints() != record.data:
        raise SoupError(f"{record.file_name}: the data are no longer those that it was trained on; run it again")
    return workspace
