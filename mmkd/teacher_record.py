"""A teacher's own evaluation and record: a row of its own in the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from mmkd.data.corpus import Readers
from mmkd.evaluate import evaluate
from mmkd.openings import note_opening
from mmkd.plan.passes import flops_of
from mmkd.record import RunRecord
from mmkd.teach import Prepared
from mmkd.teachers.base import Teacher
from mmkd.train import Trained
from mmkd.types import Batch, Outputs
from mmkd.workspace import Workspace
from mmkd.write_up import Clock, Made, identities, write_up


class WithoutLabels(nn.Module):
    """A teacher that is evaluated: it sees no labels, which some teachers weigh their words by."""

    def __init__(self, teacher: Teacher) -> None:
        """teacher: frozen."""
        super().__init__()
        self.teacher = teacher

    def forward(self, batch: Batch) -> Outputs:
        """What it says about the batch as if no row had a label."""
        return self.teacher(replace(batch, has_label={t: torch.zeros_like(h) for t, h in batch.has_label.items()}))


def unheard_rows(workspace: Workspace, name: str, prepared: Prepared) -> list[str]:
    """Ids of the labelled sets' validation and test rows that a teacher knows nothing about."""
    nobody, config = Readers({}, {}), workspace.experiment.teachers[name]
    if config.network:
        return []
    corpora = [workspace.mix.unlabelled(split, nobody, list(config.tasks)) for split in ("validation", "test")]
    return [row for corpus in corpora for row in prepared.teacher.unheard(corpus)]


def record_teacher(
    workspace: Workspace, prepared: Mapping[str, Prepared], name: str, folder: Path, command: str
) -> RunRecord:
    """Evaluate a teacher by itself and write its record: a row of its own in the tables."""
    own, clock = prepared[name], Clock()
    teacher, device = own.teacher, workspace.accelerator.device
    note_opening(folder.parent, folder.name, command)
    with workspace.mix.test_opened():
        corpora = {
            split: workspace.mix.split(split, teacher.readers, list(teacher.tasks)) for split in ("validation", "test")
        }
        evaluated = WithoutLabels(teacher)
        splits = {split: evaluate(evaluated, corpus, teacher.tasks, device) for split, corpus in corpora.items()}
    clock.lap("evaluate")
    facts, training = own.facts, teacher.config.training
    if training is None:
        trained, seed, seconds = Trained(0, splits["validation"].mean_score(), {}, []), 0, clock.laps
    else:
        trained, seed = Trained(facts["epoch"], facts["value"], {}, facts["history"]), training.seed
        seconds = {"train": facts["seconds"], **clock.laps}
    flops = flops_of(evaluated, corpora["validation"], device) if teacher.config.network else None
    made = Made(teacher, trained, splits, seed, name, None, flops)
    record = write_up(workspace, identities(prepared), made, folder, command, seconds)
    own.release()
    return record
