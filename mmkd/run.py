"""One experiment, all its seeds: data, teachers, cache, student, train, evaluate, record. The whole story on a page."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from mmkd import checkpoint
from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain
from mmkd.data.account import accounted
from mmkd.data.corpus import Corpus, Readers
from mmkd.errors import MmkdError
from mmkd.evaluate import evaluate
from mmkd.preflight.check import preflight
from mmkd.processes import told_by_main
from mmkd.record import RunRecord, read_record
from mmkd.speakers import speakers
from mmkd.student.stored import save_student
from mmkd.student.student import Student
from mmkd.teach import Prepared, new_student, prepare_all
from mmkd.teacher_record import record_teacher, unheard_rows
from mmkd.teachers.base import Speaker
from mmkd.train import Players, Report, Watch, mix, train
from mmkd.watch.profile import profiled, read_profile
from mmkd.workspace import Workspace, open_workspace
from mmkd.write_up import RECORD, Clock, Made, experiment_hash, finished, write_up

PROFILE = "profile"
"""Folder of a seed's profile, below its own."""


@dataclass(frozen=True)
class Ready:
    """An experiment with its data checked and its teachers frozen: what every seed starts from."""

    workspace: Workspace
    prepared: dict[str, Prepared]
    teachers: dict[str, Speaker]
    seconds: dict[str, float]

    def readers(self) -> Readers:
        """Who reads the training rows: the student, and the teachers that run live."""
        return self.workspace.reader("student") if self.workspace.experiment.train.cache else self.workspace.readers

    def student(self, seed: int) -> Student:
        """A new student, as a seed starts from it."""
        torch.manual_seed(mix(seed))
        return new_student(self.workspace, self.prepared)

    def training(self, views: Path, epoch: int) -> Corpus:
        """The training rows of an epoch. views: folder of a view that only this epoch reads; the last is deleted."""
        augment = self.workspace.experiment.augment
        if augment is None or augment.views is not None:
            return self.workspace.training(self.readers(), epoch)
        with self.workspace.accelerator.main_process_first():
            if self.workspace.accelerator.is_main_process:
                shutil.rmtree(views, ignore_errors=True)
            return self.workspace.training(self.readers(), epoch, views)


def run_experiment(
    experiment: Experiment,
    near: Path,
    progress: Progress,
    command: str,
    fresh: bool = False,
    jobs: int = 1,
    say: Callable[[str], None] = print,
    profile: bool = False,
) -> list[RunRecord]:
    """Run every seed of an experiment, then the teachers' own evaluation; return the students' and teachers' records.

    near: the experiment file. command: how the run was started, for the records. fresh: run again what has a
    record from the same experiment, data and code. jobs: seeds that run at the same time, each in its own process.
    profile: run the first seed, finished or not, and say where the time of a batch of it goes.

    In one of several processes that a launcher started, each seed trains in all of them; the main one writes. Raises
    MmkdError when `jobs` is above 1 there.
    """
    if jobs > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MmkdError(f"--jobs: found {jobs} under a launcher; expected 1: its processes train each seed together")
    ready = make_ready(experiment, near, progress)
    accelerator = ready.workspace.accelerator
    if not accelerator.is_main_process:
        say = _silent
    for line in accounted(ready.workspace.mix.accounts()):
        say(line)
    folder = run_folder(experiment, ready.workspace)
    say(f"results go to {os.path.relpath(folder)}")
    open_seeds: list[int] = []
    watched = experiment.seeds[0] if profile else None
    for seed in experiment.seeds if accelerator.is_main_process else ():
        found = None if fresh or seed == watched else finished_seed(folder / f"seed{seed}", ready, seed)
        if found is None:
            open_seeds.append(seed)
        else:
            say(
                f"seed {seed}: finished on {found.created} by the same experiment, data and code; --fresh runs it again"
            )
    open_seeds = told_by_main(open_seeds, accelerator)
    if jobs == 1 or len(open_seeds) < 2:
        for seed in open_seeds:
            run_seed(ready, seed, folder / f"seed{seed}", command, profile=seed == watched)
    else:
        bar = ready.workspace.follow("seeds")
        _run_in_processes(experiment, near, folder, open_seeds, jobs, command, bar, watched)
    if watched is not None:
        place = folder / f"seed{watched}" / PROFILE
        say(f"{read_profile(place).text()}  written to {os.path.relpath(place)}")
    records = [read_record(folder / f"seed{seed}" / RECORD) for seed in experiment.seeds]
    for name in experiment.teachers if accelerator.is_main_process else ():
        place = folder / f"teacher-{name}"
        if unheard := unheard_rows(ready.workspace, name, ready.prepared[name]):
            count, first = len(unheard), unheard[0]
            say(f"teacher {name}: no record of its own: it knows nothing about {count} rows, the first {first}")
        else:
            found = finished(place, ready.workspace, ready.prepared)
            records.append(found or record_teacher(ready.workspace, ready.prepared, name, place, command))
    return told_by_main(records, accelerator)


def _silent(text: str) -> None:
    pass


def finished_seed(folder: Path, ready: Ready, seed: int) -> RunRecord | None:
    """The record of a seed that need not run again: all is as it was, the weights that the student starts from too.

    Raises RecordError when there is a record that was changed.
    """
    found = finished(folder, ready.workspace, ready.prepared)
    if found is None or found.start != checkpoint.weights_hash(ready.student(seed).state_dict()):
        return None
    return found


def _run_in_processes(
    experiment: Experiment,
    near: Path,
    folder: Path,
    seeds: Sequence[int],
    jobs: int,
    command: str,
    progress: Callable[[int, int], None],
    watched: int | None,
) -> None:
    # Forking a process that has run torch can hang; a new one imports everything again.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [
            pool.submit(_run_one, experiment.dump(), near, seed, folder / f"seed{seed}", command, seed == watched)
            for seed in seeds
        ]
        for done, future in enumerate(as_completed(waiting), start=1):
            future.result()
            progress(done, len(seeds))


def _run_one(plain: dict[str, Any], near: Path, seed: int, folder: Path, command: str, profile: bool = False) -> None:
    run_seed(make_ready(from_plain(plain), near, Progress(disable=True)), seed, folder, command, profile=profile)


def make_ready(experiment: Experiment, near: Path, progress: Progress) -> Ready:
    """Open the data, fine-tune or find the teachers, and build or find their caches."""
    if experiment.train.threads is not None:
        torch.set_num_threads(experiment.train.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    clock = Clock()
    workspace = open_workspace(experiment, near, progress)
    clock.lap("open")
    prepared = prepare_all(workspace)
    clock.lap("teach")
    with workspace.accelerator.main_process_first():
        teachers = speakers(workspace, prepared)
        ready = Ready(workspace, prepared, teachers, clock.laps)
        if experiment.augment is None:
            workspace.training(ready.readers())  # encoded once, before seeds share it
    clock.lap("cache")
    return ready


def run_seed(
    ready: Ready,
    seed: int,
    folder: Path,
    command: str,
    report: Report = lambda entry: False,
    test: bool = True,
    profile: bool = False,
) -> RunRecord:
    """Train one student and write its record, weights and predictions to `folder`, which is emptied first.

    In one of several processes, the main one evaluates and writes; each returns the record.
    report: called after each epoch, True stops. test: open the test split at the end; a sweep's trials do not.
    profile: say in `folder`/profile where the time of a batch goes.
    """
    workspace, clock = ready.workspace, Clock()
    experiment, device = workspace.experiment, workspace.accelerator.device
    accelerator = workspace.accelerator
    if accelerator.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    student = ready.student(seed)
    start = checkpoint.weights_hash(student.state_dict())
    terms = workspace.terms(student, ready.teachers)
    players = Players(student, ready.teachers, terms, workspace.weighting(), workspace.tasks)
    if experiment.train.preflight:
        preflight(workspace, players, ready.training(folder / "views", 0), seed).require()
    if experiment.train.compile:
        student.compile_encoders()
    with accelerator.main_process_first():
        validation = workspace.mix.split("validation", workspace.reader("student"))
    bar = workspace.follow(f"train seed {seed}")
    views = folder / "views"
    with _watch(profile and accelerator.is_main_process, ready, folder) as watch:
        trained = train(
            players,
            partial(ready.training, views),
            validation,
            experiment.train,
            seed,
            accelerator,
            folder / "logs",
            experiment.mixing,
            report,
            bar,
            watch,
            new_words=experiment.augment is not None and experiment.augment.text is not None,
        )
    clock.lap("train")
    with accelerator.main_process_first():
        if not accelerator.is_main_process:
            return read_record(folder / RECORD)
        shutil.rmtree(views, ignore_errors=True)
        splits = {"validation": evaluate(student, validation, workspace.tasks, device)}
        if test:
            corpus = workspace.mix.split("test", workspace.reader("student"))
            splits["test"] = evaluate(student, corpus, workspace.tasks, device)
        clock.lap("evaluate")
        save_student(folder, student, workspace.reader("student"), {"epoch": trained.epoch, "seed": seed})
        made = Made(student, trained, splits, seed, None, start)
        return write_up(ready.workspace, ready.prepared, made, folder, command, ready.seconds | clock.laps)


def _watch(profile: bool, ready: Ready, folder: Path) -> AbstractContextManager[Watch]:
    if not profile:
        return nullcontext(lambda phase: None)
    return profiled(folder / PROFILE, ready.teachers.values(), ready.workspace.accelerator.device)


def run_folder(experiment: Experiment, workspace: Workspace) -> Path:
    """Scratch folder of an experiment; other values of its keys have another folder."""
    return workspace.places.runs / f"{experiment.name}-{experiment_hash(experiment)[:8]}"
