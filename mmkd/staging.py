"""Who takes part in each stage of a run: a student and its teachers, terms and a weighting with the stage's values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import nn

from mmkd.config.problems import ConfigError, Place, Problem
from mmkd.config.stages import Stage
from mmkd.student.student import Student
from mmkd.teachers.base import Speaker
from mmkd.train import Players
from mmkd.workspace import Workspace


def players_of(
    workspace: Workspace, student: Student, teachers: Mapping[str, Speaker], stages: Sequence[Stage]
) -> list[Players]:
    """Those of each stage, all before the first step: so it does not matter for them where a run was interrupted.

    Raises ConfigError when the state of a stage is none of the next: terms or weighting have other shapes.
    """
    found: list[Players] = []
    for stage in stages:
        own = replace(workspace, experiment=stage.experiment)
        players = Players(student, teachers, own.terms(student, teachers), own.weighting(), workspace.tasks)
        if found:
            _require_same_shapes(found[-1], players, stage, workspace)
        found.append(players)
    return found


def _require_same_shapes(before: Players, players: Players, stage: Stage, workspace: Workspace) -> None:
    (name,) = [name for name, change in stage.begun.changes.items() if change.epoch == stage.first]
    one, other = _shapes(before), _shapes(players)
    if different := sorted(part for part in {*one, *other} if one.get(part) != other.get(part)):
        found = f"with these values, {different[0]} has the shape {other.get(different[0])}"
        text = f"{found}; expected that of before, {one.get(different[0])}, since a run keeps what it learned"
        raise ConfigError([Problem(Place(str(workspace.near)), ("changes", name), text)])


def _shapes(players: Players) -> dict[str, list[int]]:
    """Shapes of what terms and weighting learn or remember, by name."""
    whole = nn.ModuleDict({"terms": players.terms, "weighting": players.weighting})
    return {name: list(value.shape) for name, value in (*whole.named_parameters(), *whole.named_buffers())}
