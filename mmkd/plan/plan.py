"""What a run of an experiment will compute, before it runs: found or still to do, exact, measured or estimated.

Only what a run needs anyway is written: encoded data and tokenizers. Networks are new ones, or copies of trained ones.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.progress import Progress

from mmkd.config.experiment import Experiment
from mmkd.data.corpus import Corpus
from mmkd.environment import machine
from mmkd.plan.choices import Rates, break_even, choices
from mmkd.plan.facts import Number, Plan, StudentPlan, TeacherPlan
from mmkd.plan.known import know_all, taught_views
from mmkd.plan.student import Costed as CostedStudent
from mmkd.plan.student import plan_student, without_teachers
from mmkd.plan.teacher import Costed, plan_teacher
from mmkd.plan.trial import TIMED
from mmkd.workspace import Workspace, open_workspace

DTYPES = ("fp16", "bf16", "fp32")


def plan_experiment(experiment: Experiment, near: Path, progress: Progress, measure: bool = True) -> Plan:
    """Plan the run of an experiment file.

    near: the experiment file. measure: time a few real steps; without, what needs no timing.
    Raises what opening the data and building the networks raises.
    """
    if experiment.train.threads is not None:
        torch.set_num_threads(experiment.train.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)  # as a run has it
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        return _plan(open_workspace(experiment, near, progress), measure)


def _plan(workspace: Workspace, measure: bool) -> Plan:
    experiment = workspace.experiment
    used = {needs.teacher for loss in experiment.losses.values() for needs in loss.teacher_needs()}
    views = taught_views(workspace)
    known = know_all(workspace)
    teachers = {name: plan_teacher(workspace, each, views, name in used, measure) for name, each in known.items()}
    asked = {name: known[name].teacher for name in sorted(used)}
    alone = without_teachers(workspace) if asked else None
    with tempfile.TemporaryDirectory() as folder:
        sizes = views[0].sizes()
        student = plan_student(workspace, asked, sizes, Path(folder), measure)
        bare = plan_student(alone, {}, sizes, Path(folder), True).plan if alone is not None and measure else None
    plans = [each.plan for each in teachers.values()]
    rates = _rates([each for each in teachers.values() if each.used], views[0], student, bare)
    return Plan(
        name=experiment.name,
        device=machine(workspace.accelerator.device).device,
        measured_batches=TIMED if measure else 0,
        teachers=tuple(plans),
        student=student.plan,
        choices=choices(experiment, student.plan, rates) if asked else (),
        break_even=break_even(rates),
        seconds=_seconds(experiment, plans, student.plan, rates),
        encoded=os.path.relpath(workspace.places.cache),
    )


def _rates(teachers: Sequence[Costed], view: Corpus, student: CostedStudent, alone: StudentPlan | None) -> Rates:
    words = int(view.words().sum())
    sizes = {
        dtype: sum(array.bytes for each in teachers for array in each.arrays(dtype, len(view), words, len(view.splits)))
        for dtype in DTYPES
    }
    if student.teachers is None:
        return Rates(sizes, None, None, None, None)
    return Rates(
        cached=sizes,
        building=sum(len(view) * (each.passes.seconds or 0.0) for each in teachers),
        reading=sum(student.plan.rows * (each.reading or 0.0) for each in teachers),
        live=student.plan.rows * student.teachers,
        alone=alone.epoch_seconds.value if alone is not None and alone.epoch_seconds is not None else None,
    )


def _seconds(
    experiment: Experiment, teachers: Sequence[TeacherPlan], student: StudentPlan, rates: Rates
) -> Number | None:
    """Of the whole run, with what is found left out."""
    asking = rates.reading if experiment.train.cache else rates.live
    if student.epoch_seconds is None or student.final_seconds is None or asking is None:
        return None
    seconds = student.seeds * (student.epochs * (student.epoch_seconds.value + asking) + student.final_seconds.value)
    for teacher in teachers:
        parts = (teacher.finetune, teacher.cache)
        known = [part.seconds for part in parts if part is not None] + [teacher.evaluation_seconds]
        seconds += sum(each.value for each in known if each is not None)
    return Number(seconds, "estimated")
