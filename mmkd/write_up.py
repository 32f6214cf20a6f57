"""What a run leaves behind: the record of one network, its predictions and its experiment; and finding it again."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ruamel.yaml import YAML
from torch import nn

from mmkd.checkpoint import weights_hash
from mmkd.environment import code_state, machine, package_versions, peak_memory
from mmkd.evaluate import Evaluation, primary_metrics, write_predictions
from mmkd.openings import openings_of
from mmkd.record import RunRecord, Selection, Soup, experiment_hash, read_record, write_record
from mmkd.secrets import redacted
from mmkd.teach import Prepared
from mmkd.train import Trained
from mmkd.workspace import Workspace

RECORD, PREDICTIONS, EXPERIMENT = "record.json", "predictions.parquet", "experiment.yaml"


@dataclass(frozen=True)
class Made:
    """A network that was trained and evaluated. splits: its evaluations. teacher: its name; None: a student.

    start: sha256 of a student's weights before its first step. trained_parameters, soup: of a student. flops: of a
    forward pass, per example; None where nothing is a network.
    """

    network: nn.Module
    trained: Trained
    splits: Mapping[str, Evaluation]
    seed: int
    teacher: str | None
    start: str | None
    flops: float | None
    trained_parameters: int | None = None
    soup: Soup | None = None


def write_up(
    workspace: Workspace,
    teachers: Mapping[str, Mapping[str, str]],
    made: Made,
    folder: Path,
    command: str,
    seconds: Mapping[str, float],
) -> RunRecord:
    """Write the record, the predictions of the last split and the experiment; return the record as it is read again.

    teachers: the identity of each. command: how the run was started. seconds: by phase.
    """
    experiment, splits = workspace.experiment, made.splits
    last = splits["test"] if "test" in splits else splits["validation"]
    openings, ceilings = openings_of(folder.parent), {}
    if "test" in splits:
        with workspace.mix.test_opened():
            ceilings = workspace.mix.ceilings("test")
    record = RunRecord(
        name=experiment.name,
        role="student" if made.teacher is None else "teacher",
        teacher=made.teacher,
        seed=made.seed,
        experiment=experiment.dump(),
        experiment_hash=experiment_hash(experiment),
        command=redacted(command),
        code=code_state(workspace.places.root),
        data=workspace.mix.fingerprints(),
        rows={name: account.model_dump() for name, account in workspace.mix.accounts().items()},
        teachers={name: dict(identity) for name, identity in teachers.items()},
        start=made.start,
        soup=made.soup,
        weights=weights_hash(made.network.state_dict()) if made.teacher is None else None,
        packages=package_versions(),
        machine=machine(workspace.accelerator.device, workspace.accelerator.num_processes),
        selection=Selection(epoch=made.trained.epoch, value=made.trained.value),
        primary=primary_metrics(last.scores),
        labels={name: list(task.labels) for name, task in workspace.tasks.items()},
        scores={split: evaluation.scores for split, evaluation in splits.items()},
        ceilings=ceilings,
        history=made.trained.history,
        skipped_steps=sum(entry.get("skipped_steps", 0) for entry in made.trained.history),
        parameters=sum(p.numel() for p in made.network.parameters()),
        trained_parameters=made.trained_parameters,
        flops=made.flops,
        seconds=dict(seconds),
        peak_memory=peak_memory(),
        test_openings=sum(opening.who == folder.name for opening in openings),
        openings=openings,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        predictions=write_predictions(last.predictions, folder / PREDICTIONS),
    )
    with (folder / EXPERIMENT).open("w", encoding="utf-8") as file:
        YAML().dump(experiment.dump(), file)
    write_record(record, folder / RECORD)
    return read_record(folder / RECORD)


def identities(prepared: Mapping[str, Prepared]) -> dict[str, dict[str, str]]:
    """What determines each teacher's outputs, by name."""
    return {name: each.identity for name, each in prepared.items()}


def finished(folder: Path, workspace: Workspace, prepared: Mapping[str, Prepared]) -> RunRecord | None:
    """The record in `folder`, if the same experiment, data, teachers, code and packages made it.

    Raises RecordError when there is a record that was changed.
    """
    if not (folder / RECORD).exists():
        return None
    record = read_record(folder / RECORD)
    same = (
        record.experiment_hash == experiment_hash(workspace.experiment)
        and record.code == code_state(workspace.places.root)
        and record.data == workspace.mix.fingerprints()
        and record.teachers == identities(prepared)
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
