"""A student that goes on from an earlier run's: warm starts, further tasks, another data set."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from mmkd.checkpoint import CheckpointError
from mmkd.config.adapt import Adapt
from mmkd.config.experiment import Student as Config
from mmkd.heads import ProjectedHead, TaughtHead
from mmkd.student.adapted import adapt
from mmkd.student.stored import Stored, find_student
from mmkd.student.student import Student

OTHERWISE = "or another name for the task, which starts anew then"


def earlier_student(section: Config) -> Stored | None:
    """The student that the section starts from; None when it starts from none.

    Raises CheckpointError for a folder that holds no whole student, or one that reads other modalities.
    """
    if section.start is None:
        return None
    stored = find_student(section.start.run, "student.start.run")
    stored.require_reads(section.start.reads, "student.start.reads")
    return stored


def with_origin(section: Config, stored: Stored) -> Config:
    """The section with what the earlier student was made of; dropouts stay its own.

    Raises CheckpointError for a width or fusion that the section states and the student does not have, and for an
    encoder that is adapted already.
    """
    made_of = {name: getattr(stored.config, name) for name in ("text", "image", "width", "fusion")}
    for name in ("width", "fusion"):
        stated, default = getattr(section, name), Config.model_fields[name].default
        if stated not in (made_of[name], default):
            found = f"found {stated}; the student of {stored.folder}, which it starts from, has {made_of[name]}"
            raise CheckpointError(f"student.{name}: {found}; leave the key out")
    theirs, own = stored.config.adapt.by_modality(), section.adapt.by_modality()
    for modality in own:
        if modality in theirs:
            found = f"the student of {stored.folder}, which it starts from, has its own: {theirs[modality].kind}"
            raise CheckpointError(f"student.adapt.{modality}: {found}, which goes on learning; leave the key out")
    return section.model_copy(update={"start": None, "adapt": Adapt.model_validate(theirs | own), **made_of})


def copy_student(student: Student, stored: Stored) -> None:
    """Give a new student the earlier one's weights, what its encoders are adapted by among them.

    Heads of tasks that the earlier one lacks stay as they are.

    Raises CheckpointError for a task that the earlier student has with other labels, or without a teacher's head that
    this one is to have: a head must not change meaning.
    """
    for name, task in student.tasks.items():
        if name in stored.tasks:
            stored.require_same(name, task, "student.start.run", OTHERWISE)
            if stored.taken.get(name) != student.taken.get(name):
                raise CheckpointError(_other_head(name, stored))
    adapt(student, stored.config.adapt)
    weights = stored.student({}).state_dict()
    shared = tuple(f"heads.{name}." for name in student.tasks if name in stored.tasks)
    kept = {name: value for name, value in weights.items() if not name.startswith("heads.") or name.startswith(shared)}
    student.load_state_dict({**student.state_dict(), **kept})


def take_heads(student: Student, heads: Mapping[str, TaughtHead], earlier: Stored | None) -> None:
    """Give the student the teachers' heads that it is to end in, by task.

    earlier: the student that it goes on from. One that has the task keeps its projector, which is of use before the
    same head alone.
    Raises CheckpointError when it has another head, ValueError for a teacher that has taken the head itself.
    """
    for name, taught in heads.items():
        if isinstance(taught.module, ProjectedHead):
            text = "the teacher took its own head from another teacher; expected a teacher whose head is its own"
            raise ValueError(f"student.heads.{name}: {text}")
        head, weights = student.get_submodule(f"heads.{name}.head"), taught.module.state_dict()
        if earlier is None or name not in earlier.tasks:
            head.load_state_dict(weights)
        elif any(not torch.equal(value, weights[key].to(value)) for key, value in head.state_dict().items()):
            raise CheckpointError(_other_head(name, earlier))


def _other_head(name: str, stored: Stored) -> str:
    found = f"found a teacher's head that the student of {stored.folder}, which it starts from, does not end in"
    return f"student.heads.{name}: {found}; expected the teacher whose head it took, {OTHERWISE}"
