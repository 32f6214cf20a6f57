"""One seed of an experiment: student, train, evaluate, record. The whole story on a page."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from mmkd import checkpoint
from mmkd.config.stages import stages
from mmkd.continuing import checkpoints_of, stage_under_way
from mmkd.evaluate import evaluate
from mmkd.interrupt import saves_when_asked
from mmkd.keeper import Keeper
from mmkd.lease import only_writer
from mmkd.lora import without_lora
from mmkd.openings import note_opening
from mmkd.plan.passes import flops_of
from mmkd.preflight.check import preflight
from mmkd.processes import told_by_main
from mmkd.ready import Ready
from mmkd.record import RunRecord, read_record, split_without
from mmkd.staging import players_of
from mmkd.student.adapted import merge, trained_parameters
from mmkd.student.stored import save_student
from mmkd.student.student import Student
from mmkd.tracking import FINISHED, tracking
from mmkd.train import Report, Watch, train
from mmkd.watch.profile import profiled
from mmkd.write_up import RECORD, Clock, Made, finished, identities, write_up

PROFILE = "profile"
"""Folder of a seed's profile, below its own."""


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
                    for modality in student.encoders if len(student.encoders) > 1 else ():
                        hidden = evaluate(student, corpus, workspace.tasks, device, without=modality)
                        splits[split_without("test", modality)] = hidden
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
