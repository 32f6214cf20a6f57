"""What all seeds of an experiment start from: data opened, teachers frozen, their caches filled."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.progress import Progress

from mmkd.config.experiment import Experiment
from mmkd.data.corpus import Corpus, Readers
from mmkd.speakers import speakers
from mmkd.student.student import Student
from mmkd.teach import Prepared, new_student, prepare_all
from mmkd.teachers.base import Speaker
from mmkd.train import mix
from mmkd.workspace import Workspace, open_workspace
from mmkd.write_up import Clock


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
