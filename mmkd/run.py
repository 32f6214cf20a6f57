"""One experiment, all its seeds: data, teachers, cache, student, train, evaluate, record. The whole story on a page."""

from __future__ import annotations

import datetime
import multiprocessing
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress
from ruamel.yaml import YAML
from torch import nn

from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain
from mmkd.data.account import accounted
from mmkd.data.corpus import Corpus, Readers
from mmkd.environment import code_state, machine, package_versions, peak_memory
from mmkd.errors import MmkdError
from mmkd.evaluate import Evaluation, evaluate, primary_metrics, write_predictions
from mmkd.record import RunRecord, Selection, hash_of, read_record, write_record
from mmkd.student.stored import save_student
from mmkd.teach import Prepared, new_student, prepare_all, speakers
from mmkd.teachers.base import Speaker, Teacher
from mmkd.train import Players, Report, Trained, Watch, mix, train
from mmkd.types import Batch, Outputs
from mmkd.watch.profile import profiled, read_profile
from mmkd.workspace import Workspace, open_workspace

RECORD, PREDICTIONS, EXPERIMENT = "record.json", "predictions.parquet", "experiment.yaml"
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

    def training(self, views: Path, epoch: int) -> Corpus:
        """The training rows of an epoch. views: folder of a view that only this epoch reads; the last is deleted."""
        augment = self.workspace.experiment.augment
        if augment is None or augment.views is not None:
            return self.workspace.training(self.readers(), epoch)
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
    """
    _require_one_process()
    ready = make_ready(experiment, near, progress)
    for line in accounted(ready.workspace.mix.accounts()):
        say(line)
    folder = run_folder(experiment, ready.workspace)
    say(f"results go to {os.path.relpath(folder)}")
    open_seeds = []
    watched = experiment.seeds[0] if profile else None
    for seed in experiment.seeds:
        found = None if fresh or seed == watched else finished(folder / f"seed{seed}", ready)
        if found is None:
            open_seeds.append(seed)
        else:
            say(
                f"seed {seed}: finished on {found.created} by the same experiment, data and code; --fresh runs it again"
            )
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
    for name in experiment.teachers:
        place = folder / f"teacher-{name}"
        if unheard := unheard_rows(ready, name):
            count, first = len(unheard), unheard[0]
            say(f"teacher {name}: no record of its own: it knows nothing about {count} rows, the first {first}")
        else:
            records.append(finished(place, ready) or record_teacher(ready, name, place, command))
    return records


def _require_one_process() -> None:
    """Several would write the same folders. Raises MmkdError in one of several that `accelerate launch` started."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise MmkdError(
            "found WORLD_SIZE above 1: a run writes its folder from one process; start `mmkd run` without a launcher "
            "(`mmkd.train.train` itself trains in several processes)"
        )


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

    report: called after each epoch, True stops. test: open the test split at the end; a sweep's trials do not.
    profile: say in `folder`/profile where the time of a batch goes.
    """
    workspace, clock = ready.workspace, Clock()
    experiment, device = workspace.experiment, workspace.accelerator.device
    shutil.rmtree(folder, ignore_errors=True)
    torch.manual_seed(mix(seed))
    student = new_student(workspace, ready.prepared)
    terms = workspace.terms(student, ready.teachers)
    players = Players(student, ready.teachers, terms, workspace.weighting(), workspace.tasks)
    validation = workspace.mix.split("validation", workspace.reader("student"))
    bar = workspace.follow(f"train seed {seed}")
    views = folder / "views"
    with _watch(profile, ready, folder) as watch:
        trained = train(
            players,
            partial(ready.training, views),
            validation,
            experiment.train,
            seed,
            workspace.accelerator,
            folder / "logs",
            experiment.mixing,
            report,
            bar,
            watch,
        )
    shutil.rmtree(views, ignore_errors=True)
    clock.lap("train")
    splits = {"validation": evaluate(student, validation, workspace.tasks, device)}
    if test:
        corpus = workspace.mix.split("test", workspace.reader("student"))
        splits["test"] = evaluate(student, corpus, workspace.tasks, device)
    clock.lap("evaluate")
    save_student(folder, student, workspace.reader("student"), {"epoch": trained.epoch, "seed": seed})
    return _write(ready, student, trained, splits, seed, None, folder, command, ready.seconds | clock.laps)


def _watch(profile: bool, ready: Ready, folder: Path) -> AbstractContextManager[Watch]:
    if not profile:
        return nullcontext(lambda phase: None)
    return profiled(folder / PROFILE, ready.teachers.values(), ready.workspace.accelerator.device)


class WithoutLabels(nn.Module):
    """A teacher that is evaluated: it sees no labels, which some teachers weigh their words by."""

    def __init__(self, teacher: Teacher) -> None:
        """teacher: frozen."""
        super().__init__()
        self.teacher = teacher

    def forward(self, batch: Batch) -> Outputs:
        """What it says about the batch as if no row had a label."""
        return self.teacher(replace(batch, has_label={t: torch.zeros_like(h) for t, h in batch.has_label.items()}))


def unheard_rows(ready: Ready, name: str) -> list[str]:
    """Ids of the labelled sets' validation and test rows that a teacher knows nothing about."""
    workspace, nobody = ready.workspace, Readers({}, {})
    config = workspace.experiment.teachers[name]
    if config.network:
        return []
    corpora = [workspace.mix.split(split, nobody, list(config.tasks)) for split in ("validation", "test")]
    return [row for corpus in corpora for row in ready.prepared[name].teacher.unheard(corpus)]


def record_teacher(ready: Ready, name: str, folder: Path, command: str) -> RunRecord:
    """Evaluate a teacher by itself and write its record: a row of its own in the tables."""
    workspace, prepared, clock = ready.workspace, ready.prepared[name], Clock()
    teacher, device = prepared.teacher, workspace.accelerator.device
    splits = {
        split: evaluate(
            WithoutLabels(teacher),
            workspace.mix.split(split, teacher.readers, list(teacher.tasks)),
            teacher.tasks,
            device,
        )
        for split in ("validation", "test")
    }
    clock.lap("evaluate")
    facts, training = prepared.facts, teacher.config.training
    if training is None:
        trained, seed, seconds = Trained(0, splits["validation"].mean_score(), {}, []), 0, clock.laps
    else:
        trained, seed = Trained(facts["epoch"], facts["value"], {}, facts["history"]), training.seed
        seconds = {"train": facts["seconds"], **clock.laps}
    record = _write(ready, teacher, trained, splits, seed, name, folder, command, seconds)
    prepared.release()
    return record


def _write(
    ready: Ready,
    network: nn.Module,
    trained: Trained,
    splits: Mapping[str, Evaluation],
    seed: int,
    teacher: str | None,
    folder: Path,
    command: str,
    seconds: dict[str, float],
) -> RunRecord:
    workspace = ready.workspace
    experiment = workspace.experiment
    last = splits["test"] if "test" in splits else splits["validation"]
    record = RunRecord(
        name=experiment.name,
        role="student" if teacher is None else "teacher",
        teacher=teacher,
        seed=seed,
        experiment=experiment.dump(),
        experiment_hash=experiment_hash(experiment),
        command=command,
        code=code_state(workspace.places.root),
        data=workspace.mix.fingerprints(),
        rows={name: account.model_dump() for name, account in workspace.mix.accounts().items()},
        teachers={name: prepared.identity for name, prepared in ready.prepared.items()},
        packages=package_versions(),
        machine=machine(workspace.accelerator.device),
        selection=Selection(epoch=trained.epoch, value=trained.value),
        primary=primary_metrics(last.scores),
        scores={split: evaluation.scores for split, evaluation in splits.items()},
        ceilings=workspace.mix.ceilings("test") if "test" in splits else {},
        history=trained.history,
        parameters=sum(p.numel() for p in network.parameters()),
        seconds=seconds,
        peak_memory=peak_memory(),
        test_openings=int("test" in splits),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        predictions=write_predictions(last.predictions, folder / PREDICTIONS),
    )
    with (folder / EXPERIMENT).open("w", encoding="utf-8") as file:
        YAML().dump(experiment.dump(), file)
    write_record(record, folder / RECORD)
    return read_record(folder / RECORD)


def experiment_hash(experiment: Experiment) -> str:
    """sha256 of all that the experiment says, its seeds and description left out."""
    return hash_of({k: v for k, v in experiment.dump().items() if k not in {"seeds", "description"}})


def run_folder(experiment: Experiment, workspace: Workspace) -> Path:
    """Scratch folder of an experiment; other values of its keys have another folder."""
    return workspace.places.runs / f"{experiment.name}-{experiment_hash(experiment)[:8]}"


def finished(folder: Path, ready: Ready) -> RunRecord | None:
    """The record in `folder`, if the same experiment, data, teachers, code and packages made it.

    Raises RecordError when there is a record that was changed.
    """
    if not (folder / RECORD).exists():
        return None
    record, workspace = read_record(folder / RECORD), ready.workspace
    same = (
        record.experiment_hash == experiment_hash(workspace.experiment)
        and record.code == code_state(workspace.places.root)
        and record.data == workspace.mix.fingerprints()
        and record.teachers == {name: prepared.identity for name, prepared in ready.prepared.items()}
        and record.packages == package_versions()
    )
    return record if same else None


class Clock:
    """Wall time by phase, in seconds."""

    def __init__(self) -> None:
        """Start now."""
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, phase: str) -> None:
        """Give the time since the last lap to `phase`."""
        now = time.perf_counter()
        self.laps[phase] = now - self._last
        self._last = now
