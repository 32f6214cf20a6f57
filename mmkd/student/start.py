"""A student that goes on from an earlier run's: warm starts, further tasks, another data set."""

from __future__ import annotations

from mmkd.checkpoint import CheckpointError
from mmkd.config.adapt import Adapt
from mmkd.config.experiment import Student as Config
from mmkd.student.adapted import adapt
from mmkd.student.stored import Stored, find_student
from mmkd.student.student import Student


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

    Raises CheckpointError for a task that the earlier student has with other labels: a head must not change meaning.
    """
    for name, task in student.tasks.items():
        if name in stored.tasks:
            stored.require_same(name, task, "student.start.run", "or another name for the task, which starts anew then")
    adapt(student, stored.config.adapt)
    weights = stored.student({}).state_dict()
    shared = tuple(f"heads.{name}." for name in student.tasks if name in stored.tasks)
    kept = {name: value for name, value in weights.items() if not name.startswith("heads.") or name.startswith(shared)}
    student.load_state_dict({**student.state_dict(), **kept})
