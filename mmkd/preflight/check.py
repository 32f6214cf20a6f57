"""The preflight of a run: a real batch, the real student, terms, teachers and weighting, before the first step.

Nothing of the run is touched: what trains is copied, teachers are only asked, and torch's random state is put back. So
a run has the same bits with a preflight and without.
"""

from __future__ import annotations

import copy
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from mmkd.data.batches import to_device
from mmkd.data.corpus import Corpus, Readers
from mmkd.losses.base import Loss
from mmkd.objective import Terms
from mmkd.passes import Passes
from mmkd.preflight.balance import Step, check_weighting
from mmkd.preflight.found import Finding, Report, named
from mmkd.preflight.networks import Asked, check_words
from mmkd.preflight.parts import without_graph
from mmkd.preflight.rows import drawn_rows
from mmkd.preflight.scene import Scene
from mmkd.preflight.teachers import check_teacher
from mmkd.preflight.terms import check_term
from mmkd.tasks.base import Task
from mmkd.train import Players
from mmkd.types import Batch, Outputs, rows_of
from mmkd.workspace import Workspace

SIZE = 5.0
"""How many times larger or smaller than chance says a loss may be before the first step."""
CHANCE = "loss before the first step as large as chance"


def preflight(workspace: Workspace, players: Players, corpus: Corpus, seed: int) -> Report:
    """Look at everything that takes part in the training of a student.

    corpus: the training rows of the first epoch. seed: of the run; it draws the rows.
    """
    started, report, device = time.perf_counter(), Report(), workspace.accelerator.device
    with _random_state_put_back(device):
        drawn = drawn_rows(workspace.mix.training(Readers({}, {})), seed)
        report.rows = len(drawn.batch)
        for name, teacher in players.teachers.items():
            check_teacher(workspace, name, teacher.to(device), corpus, drawn, seed, report)
        network, terms, weighting = copy.deepcopy((players.network, players.terms, players.weighting))
        nn.ModuleList([network, terms, weighting]).to(device)
        check_words(Asked("student", network.eval(), corpus, drawn.batch, workspace.tasks, device), report, seed)
        batch = to_device(corpus.batch(drawn.batch), device)
        with torch.no_grad():
            said = {name: teacher(batch) for name, teacher in players.teachers.items()}
        torch.manual_seed(seed)
        network.train()
        student = Passes(network, terms, workspace.accelerator).student(batch)
        if workspace.experiment.student.start is None:  # heads of an earlier student know something already
            for task in workspace.tasks.values():
                check_size(task, student, batch, report)
        scene = Scene(batch, without_graph(student), said, workspace.tasks)
        for name, loss in terms.losses.items():
            assert isinstance(loss, Loss)  # as `Terms` was given
            check_term(named("losses", name, loss.config.kind), loss, scene, seed, report)
        if not any(report.findings.values()):  # a weighting of wrong terms says nothing
            torch.manual_seed(seed)
            step = _step(network, terms, weighting, student, said, batch, players)
            check_weighting(f"weighting (kind {weighting.config.kind})", weighting, step, report)
    report.seconds = time.perf_counter() - started
    return report


def check_size(task: Task, student: Outputs, batch: Batch, report: Report) -> None:
    """A new head knows nothing: its loss is near that of equal logits, which is ln K for K classes."""
    if task.config.logits == "value" or task.name not in student.logits:
        return
    rows = rows_of(task.level, batch, student) & task.labelled_rows(batch)
    who = named("tasks", task.name, task.config.kind)
    if not rows.any():
        report.leave_out(CHANCE, who, "no row of the batch has a label")
        return
    logits, labels = student.logits[task.name][rows].detach().float(), batch.labels[task.name][rows]
    found, chance = float(task.loss(logits, labels)), float(task.loss(torch.zeros_like(logits), labels))
    findings = []
    if not chance / SIZE <= found <= chance * SIZE:
        text = f"before the first step the student's loss is {found:.3g}, and {chance:.3g} with equal logits"
        advice = "look at the head's first weights and the size of what it reads; a loss is a mean over rows"
        findings = [Finding(who, text, f"between {chance / SIZE:.2g} and {chance * SIZE:.2g}", advice)]
    report.add(CHANCE, who, findings)


def _step(
    network: nn.Module,
    terms: Terms,
    weighting: nn.Module,
    student: Outputs,
    said: dict[str, Outputs],
    batch: Batch,
    players: Players,
) -> Step:
    trainees = nn.ModuleDict({"student": network, "terms": terms, "weighting": weighting})
    learns = {name: p for name, p in trainees.named_parameters() if p.requires_grad}
    shared = [p for name, p in network.named_parameters() if not name.startswith("heads.") and p.requires_grad]
    representation: list[Tensor] = [student.fused] if student.fused is not None else []
    return Step(terms(student, said, batch, 0.0, 0), learns, shared, representation, players.teachers)


@contextmanager
def _random_state_put_back(device: torch.device) -> Iterator[None]:
    """For a plug-in may draw from any of these."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield
    random.setstate(of_python)
    np.random.set_state(of_numpy)
