"""A student on disk, complete: weights, tokenizer, sections of its experiment and the order of its labels.

Nothing else is needed to build it again: no data, no hub, no file that its experiment named.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkd import checkpoint
from mmkd.arrays import file_hash
from mmkd.checkpoint import CheckpointError
from mmkd.config import plugins
from mmkd.config.experiment import Student as Config
from mmkd.config.layers import Layer
from mmkd.config.local import local_path
from mmkd.config.plugin_base import Modality
from mmkd.data.corpus import Readers
from mmkd.data.pixels import ImageReader
from mmkd.data.tokens import TextReader, stored_reader
from mmkd.encoders.text import TextEncoder
from mmkd.student.adapted import adapt
from mmkd.student.student import READER, Student
from mmkd.tasks.base import Task

FOLDER, TOKENIZER = "student", "tokenizer.json"


@dataclass(frozen=True)
class Stored:
    """What lies in a run's folder. readers: the student's, under the name `student`. sha256: of its weights.

    taken: tasks whose head it took from a teacher -> width of the feature that the head reads.
    """

    folder: Path
    config: Config
    tasks: dict[str, Task]
    readers: Readers
    sha256: str
    taken: dict[str, int]

    def student(self, layers: Mapping[str, tuple[Layer, ...]]) -> Student:
        """The student with its weights. layers: modality -> hidden layers to return beside the last.

        Raises CheckpointError when its weights were changed since, or do not suit this version's student.
        """
        student = Student(self.config, self.tasks, self.readers, layers, self.taken)
        adapt(student, self.config.adapt)
        weights, _, _ = checkpoint.load(self.folder / FOLDER)
        try:
            student.load_state_dict(weights)
        except RuntimeError as error:
            message = f"{self.folder / FOLDER}: weights of another student than this version builds: {error}"
            raise CheckpointError(f"{message}; run it again") from error
        return student

    def require_reads(self, reads: Sequence[Modality], where: str) -> None:
        """Raises CheckpointError when the student reads other modalities than those stated at the key `where`."""
        if sorted(self.config.reads) != sorted(reads):
            found = f"found {list(reads)}; the student of {self.folder} reads {list(self.config.reads)}"
            raise CheckpointError(f"{where}: {found}")

    def require_same(self, name: str, task: Task, where: str, otherwise: str = "") -> None:
        """Raises CheckpointError when the student's task of that name is not this one, with the same order of labels.

        where: the key that asks for it. otherwise: what else may be done.
        """
        theirs = self.tasks[name]
        if (theirs.labels, theirs.level, theirs.config.logits) != (task.labels, task.level, task.config.logits):
            raise CheckpointError(
                f"{where}: {name} of the student of {self.folder} is of the kind {theirs.config.kind} with the labels "
                f"{list(theirs.labels)}; here it is of the kind {task.config.kind} with {list(task.labels)}; expected "
                f"the same labels in the same order, as `tasks.{name}.labels` can state them{otherwise and ', '}"
                f"{otherwise}"
            )


def save_student(folder: Path, student: Student, readers: Readers, facts: Mapping[str, Any]) -> None:
    """Write the student below a run's folder. readers: those that it was built with. facts: more plain data."""
    own: dict[str, Any] = {
        "student": student.config.model_dump(mode="json", by_alias=True),
        "tasks": {name: task.config.model_dump(mode="json", by_alias=True) for name, task in student.tasks.items()},
        "labels": {name: list(task.labels) for name, task in student.tasks.items()},
        "taken": student.taken,
    }
    encoder = dict(student.encoders.items()).get("text")
    if encoder is not None:
        tokenizer = readers.text[READER].tokenizer
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.backend_tokenizer.save(str(folder / TOKENIZER))
        special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
        own["tokenizer"] = {"sha256": file_hash(folder / TOKENIZER), "special": special}
    if isinstance(encoder, TextEncoder):
        own["architecture"] = json.loads(encoder.model.config.to_json_string(use_diff=False))
    checkpoint.save(folder / FOLDER, student.state_dict(), {**facts, **own})


def find_student(named: str, where: str) -> Stored:
    """The student of a run that an experiment names at the key `where`: its seed's folder, or the record in it.

    Raises CheckpointError where there is none, and what `read_student` raises.
    """
    path = local_path(named)
    if path is None:
        raise CheckpointError(f"{where}: found no {named}, in the working folder or below MMKD_DATA")
    return read_student(path.parent if path.is_file() else path)


def read_student(folder: Path) -> Stored:
    """What `save_student` wrote there.

    Raises CheckpointError for a folder without a student, one that lacks its tokenizer or labels, or changed files.
    """
    _, facts, sha256 = checkpoint.load(folder / FOLDER)
    if absent := [key for key in ("student", "tasks", "labels") if key not in facts]:
        raise CheckpointError(
            f"{folder / FOLDER}: the weights stand without {', '.join(absent)}: an older version wrote them; run the "
            "experiment again"
        )
    plain = facts["student"]
    if plain["text"] is not None and "architecture" in facts:
        # built from its own architecture, not fetched again
        size = plain["text"]["vocabulary"] or 1
        plain["text"] |= {"model": None, "architecture": facts["architecture"], "vocabulary": size}
    if plain["text"] is not None:
        plain["text"]["trust_remote_code"] = False  # an experiment says so, never a file that it names
    if plain["image"] is not None:
        plain["image"] |= {"pretrained": False, "weights": None}
    config = Config.model_validate(plain)
    text = {} if config.text is None else {READER: _reader(folder, facts["tokenizer"], config.text.max_tokens)}
    image = {} if config.image is None else {READER: ImageReader(config.image.size)}
    tasks = {name: _task(name, one, facts["labels"][name]) for name, one in facts["tasks"].items()}
    # A student of before a head could be taken says nothing of it.
    return Stored(folder, config, tasks, Readers(text, image), sha256, facts.get("taken", {}))


def _reader(folder: Path, stored: Mapping[str, Any], max_tokens: int) -> TextReader:
    path = folder / TOKENIZER
    found = file_hash(path) if path.exists() else "none"
    if found != stored["sha256"]:
        raise CheckpointError(
            f"{path}: sha256 {found[:12]}, expected {stored['sha256'][:12]}: not the tokenizer that the student was "
            "trained with; run the experiment again"
        )
    return stored_reader(path, stored["special"], max_tokens)


def _task(name: str, plain: Mapping[str, Any], labels: list[str]) -> Task:
    config = plugins.config_class("tasks", plain["kind"]).model_validate(plain)
    task: Task = plugins.load("tasks", plain["kind"]).Task(config, name, labels)
    return task
