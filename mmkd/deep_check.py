"""`mmkd check --deep`: make an experiment ready as a run does, then only its preflight, for its first seed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.progress import Progress

from mmkd.config.experiment import Experiment
from mmkd.preflight.check import preflight
from mmkd.preflight.found import Report
from mmkd.ready import make_ready
from mmkd.train import Players


def deep_check(experiment: Experiment, near: Path, progress: Progress) -> Report:
    """What the preflight of the first seed looked at and found. near: the experiment file.

    Raises PreflightError for a teacher that may not speak to the cache.
    """
    ready, seed = make_ready(experiment, near, progress), experiment.seeds[0]
    workspace = ready.workspace
    student = ready.student(seed)
    terms = workspace.terms(student, ready.teachers)
    players = Players(student, ready.teachers, terms, workspace.weighting(), workspace.tasks)
    with tempfile.TemporaryDirectory() as views:
        return preflight(workspace, players, ready.training(Path(views), 0), seed)
