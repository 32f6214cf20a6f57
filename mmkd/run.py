"""One experiment, all its seeds: data, teachers, cache, student, train, evaluate, record. The whole story on a page."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from mmkd import checkpoint
from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain
from mmkd.config.stages import stages
from mmkd.continuing import checkpoints_of, stage_under_way
from mmkd.data.account import accounted
from mmkd.data.corpus import Corpus, Readers
from mmkd.errors import MmkdError
from mmkd.evaluate import evaluate
from mmkd.interrupt import saves_when_asked, stops_when_asked
from mmkd.keeper import Keeper
from mmkd.lease import in_turn, only_writer
from mmkd.lora import without_lora
from mmkd.openings import note_opening
from mmkd.places import Places
from mmkd.plan.passes import flops_of
from mmkd.preflight.check import preflight
from mmkd.processes import told_by_main
from mmkd.record import RunRecord, read_record
from mmkd.speakers import speakers
from mmkd.staging import players_of
from mmkd.student.adapted import merge, trained_parameters
from mmkd.student.stored import save_student
from mmkd.student.student import Student
from mmkd.teach import Prepared, new_student, prepare_all
from mmkd.teacher_record import record_teacher, unheard_rows
from mmkd.teachers.base import Speaker
from mmkd.tracking import FINISHED, tracking
from mmkd.train import Report, Watch, mix, train
from mmkd.watch.profile import profiled, read_profile
from mmkd.workspace import Workspace, open_workspace
from mmkd.write_up import RECORD, Clock, Made, experiment_hash, finished, identities, write_up

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
        return new_student(self.workspace, self.prepared, self.teachers)

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
    MmkdError when `jobs` is above 1 there, Busy while another process runs one of the seeds.
    """
    if jobs > 1 and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MmkdError(f"--jobs: found {jobs} under a launcher; expected 1: its processes train each seed together")
    folder = run_folder(experiment, near)
    with ExitStack() as leases:
        for seed in experiment.seeds if os.environ.get("RANK", "0") == "0" else ():
            # Beside the runs: of one whose data are refused, nothing is left.
            leases.enter_context(only_writer(folder.with_name(".locks"), f"{folder.name}-seed{seed}"))
        return _run_experiment(experiment, near, progress, command, fresh, jobs, say, profile)


def _run_experiment(
    experiment: Experiment,
    near: Path,
    progress: Progress,
    command: str,
    fresh: bool,
    jobs: int,
    say: Callable[[str], None],
    profile: bool,
) -> list[RunRecord]:
    ready = make_ready(experiment, near, progress)
    accelerator = ready.workspace.accelerator
    if not accelerator.is_main_process:
        say = _silent
    for line in accounted(ready.workspace.mix.accounts()):
        say(line)
    folder = run_folder(experiment, near)
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
            run_seed(ready, seed, folder / f"seed{seed}", command, profile=seed == watched, fresh=fresh)
    else:
        bar = ready.workspace.follow("seeds")
        _run_in_processes(experiment, near, folder, open_seeds, jobs, command, bar, watched, fresh)
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
            with in_turn(folder, f".{place.name}.lock", say):  # runs of other seeds write it too
                found = finished(place, ready.workspace, ready.prepared)
                records.append(found or record_teacher(ready.workspace, ready.prepared, name, place, command))
    learned, kept = records[0].trained_parameters, records[0].parameters
    if learned not in (None, kept):  # an older version's record does not say
        say(f"the student trained {learned:,} of {kept:,} parameters")
    return told_by_main(records, accelerator)


def _silent(text: str) -> None:
    pass


def finished_seed(folder: Path, ready: Ready, seed: int) -> RunRecord | None:
    """The record of a seed that need not run again: all is as it was, the weights that the student starts from too.

    Raises RecordError when there is a record that was changed.
    """
    found = finished(folder, ready.workspace, ready.prepared)
    if found is None or found.start != start_of(ready.student(seed)):
        return None
    return found


def start_of(student: Student) -> str:
    """Hash of what a student starts from; low-rank products add nothing yet."""
    return checkpoint.weights_hash(without_lora(student.state_dict()))


def _run_in_processes(
    experiment: Experiment,
    near: Path,
    folder: Path,
    seeds: Sequence[int],
    jobs: int,
    command: str,
    progress: Callable[[int, int], None],
    watched: int | None,
    fresh: bool,
) -> None:
    # Forking a process that has run torch can hang; a new one imports everything again.
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting = [
            pool.submit(
                _run_one, experiment.dump(), near, seed, folder / f"seed{seed}", command, seed == watched, fresh
            )
            for seed in seeds
        ]
        with stops_when_asked(partial(_ask_all, pool)), saves_when_asked():
            try:
                for done, future in enumerate(as_completed(waiting), start=1):
                    future.result()
                    progress(done, len(seeds))
            except KeyboardInterrupt:
                for process in multiprocessing.active_children():
                    process.kill()
                raise
            finally:
                pool.shutdown(cancel_futures=True)


def _ask_all(pool: ProcessPoolExecutor) -> None:
    """Ask the seeds' processes to stop. What reached them by the terminal as well is not a second demand."""
    for process in multiprocessing.active_children():
        if process.pid is not None:
            os.kill(process.pid, signal.SIGTERM)


def _run_one(
    plain: dict[str, Any],
    near: Path,
    seed: int,
    folder: Path,
    command: str,
    profile: bool = False,
    fresh: bool = False,
) -> None:
    with stops_when_asked():
        ready = make_ready(from_plain(plain), near, Progress(disable=True))
        run_seed(ready, seed, folder, command, profile=profile, fresh=fresh)


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
    fresh: bool = False,
    until: int | None = None,
) -> RunRecord:
    """Train one student and write its record, weights and predictions to `folder`.

    An unfinished training that lies there goes on, and ends as if it had never been interrupted; all else is deleted.
    Where the experiment changes on the way, each stage goes on from the state of the one before.
    In one of several processes, the main one evaluates and writes; each returns the record.
    report: called after each epoch, True stops. test: open the test split at the end; a sweep's trials do not.
    profile: say in `folder`/profile where the time of a batch goes. fresh: begin anew.
    until: epochs after which to leave off; the state of then stays in `folder`.
    Raises Busy while another process writes there, OtherRun when the unfinished training depends on something else,
    Interrupted when the process is asked to stop.
    """
    workspace, clock = ready.workspace, Clock()
    experiment, device = workspace.experiment, workspace.accelerator.device
    accelerator = workspace.accelerator
    student = ready.student(seed)
    start, learns = start_of(student), trained_parameters(student)
    parts = stages(experiment)
    players = players_of(workspace, student, ready.teachers, parts)
    with accelerator.main_process_first():
        validation = workspace.mix.split("validation", workspace.reader("student"))
    bar = workspace.follow(f"train seed {seed}")
    views = folder / "views"
    main = accelerator.is_main_process
    with ExitStack() as held:
        if main:
            held.enter_context(only_writer(folder.parent, f".{folder.name}.lock"))
        checkpoints = checkpoints_of(workspace, ready.prepared, folder, seed, start, parts)
        if main and (fresh or not checkpoints[0].steps()):
            shutil.rmtree(folder, ignore_errors=True)
        if experiment.train.preflight:
            preflight(workspace, players[0], ready.training(views, 0), seed).require()
        if experiment.train.compile:
            student.compile_encoders()
        service = experiment.track if main else None
        about = (experiment.name, folder, workspace.places.root, experiment.dump(), workspace.say)
        tracked = held.enter_context(tracking(service, *about))

        def told(entry: dict[str, Any]) -> bool:
            tracked.log(entry)
            return report(entry)

        begin = told_by_main(stage_under_way(checkpoints) if main else 0, accelerator)
        with saves_when_asked(), _watch(profile and main, ready, folder) as watch:
            for stage, own, saved in list(zip(parts, players, checkpoints, strict=True))[begin:]:
                trained = train(
                    own,
                    partial(ready.training, views),
                    validation,
                    stage.experiment.train,
                    seed,
                    accelerator,
                    folder / "logs",
                    experiment.mixing,
                    told,
                    bar,
                    watch,
                    new_words=experiment.new_words,
                    keeper=Keeper(saved, experiment.train.checkpoint, accelerator, workspace.say),
                    say=workspace.say,
                    until=stage.end if until is None else min(stage.end, until),
                )
                if len(trained.history) < stage.end or stage.end == until:
                    break
        merge(student)
        clock.lap("train")
        with accelerator.main_process_first():
            if not main:
                return read_record(folder / RECORD)
            shutil.rmtree(views, ignore_errors=True)
            splits = {"validation": evaluate(student, validation, workspace.tasks, device)}
            if test:
                note_opening(folder.parent, folder.name, command)
                with workspace.mix.test_opened():
                    corpus = workspace.mix.split("test", workspace.reader("student"))
                    splits["test"] = evaluate(student, corpus, workspace.tasks, device)
            clock.lap("evaluate")
            save_student(folder, student, workspace.reader("student"), {"epoch": trained.epoch, "seed": seed})
            made = Made(student, trained, splits, seed, None, start, flops_of(student, validation, device), learns)
            seconds = ready.seconds | clock.laps
            record = write_up(ready.workspace, identities(ready.prepared), made, folder, command, seconds)
            if until is None:
                checkpoints[0].remove()
            tracked.end(FINISHED, record)
            return record


def _watch(profile: bool, ready: Ready, folder: Path) -> AbstractContextManager[Watch]:
    if not profile:
        return nullcontext(lambda phase: None)
    return profiled(folder / PROFILE, ready.teachers.values(), ready.workspace.accelerator.device)


def run_folder(experiment: Experiment, near: Path) -> Path:
    """Scratch folder of an experiment; other values of its keys have another folder. near: the experiment file."""
    return Places.near(near).runs / f"{experiment.name}-{experiment_hash(experiment)[:8]}"
