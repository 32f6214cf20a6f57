"""Teachers made ready: fine-tuned once, found again by the hash of what made them, frozen.

A teacher that lacks the heads for its tasks is trained with the same loop as the student, on the labelled rows of
the `train` splits; validation chooses its epoch. One that is served from the cache is not kept in memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmkd import checkpoint
from mmkd.checkpoint import CheckpointError
from mmkd.checkpoints import Checkpoints
from mmkd.config import plugins
from mmkd.config.experiment import Train
from mmkd.config.plugin_base import Finetune
from mmkd.data.corpus import Corpus, Readers
from mmkd.encoders.start import copy_blocks
from mmkd.interrupt import saves_when_asked
from mmkd.keeper import Keeper
from mmkd.lease import in_turn
from mmkd.lora import add_lora, merge_lora
from mmkd.losses.base import Setting
from mmkd.objective import Terms
from mmkd.processes import told_by_main
from mmkd.record import hash_of
from mmkd.student.adapted import adapt
from mmkd.student.start import copy_student, earlier_student, take_heads
from mmkd.student.student import Student
from mmkd.tasks.base import Task
from mmkd.teacher_identity import circumstances, classes, code_of, networks, packages, reads
from mmkd.teachers.base import Speaker, Teacher
from mmkd.train import Players, mix, train
from mmkd.workspace import Workspace


class Prepared:
    """A teacher made ready. It is in memory from when it is asked for until it is released, and built again if asked.

    identity: what determines its outputs, by name. facts: of its training, for its record. folder: of its checkpoint,
    where it was trained here.
    """

    def __init__(
        self,
        build: Callable[[], Teacher],
        identity: Mapping[str, str],
        facts: Mapping[str, Any],
        folder: Path | None = None,
    ) -> None:
        """build: makes the teacher, frozen and on its device."""
        self.identity, self.facts, self.folder = dict(identity), dict(facts), folder
        self._build = build
        self._teacher: Teacher | None = None

    @property
    def teacher(self) -> Teacher:
        """The frozen teacher."""
        if self._teacher is None:
            with torch.random.fork_rng():  # a new network draws its first weights
                self._teacher = self._build()
        return self._teacher

    def release(self) -> None:
        """Let the teacher go from memory."""
        self._teacher = None


@dataclass(frozen=True)
class Untrained:
    """A teacher before it is fine-tuned. made_from: what determines the trained one, by name; folder: where it lies."""

    teacher: Teacher
    made_from: dict[str, Any]
    folder: Path


def prepare_all(workspace: Workspace) -> dict[str, Prepared]:
    """Every teacher of the experiment, in its order; one that speaks for others is made ready after them."""
    configs = workspace.experiment.teachers
    found: dict[str, Prepared] = {}
    for name in sorted(configs, key=lambda each: bool(configs[each].speaks_for)):
        found[name] = prepare(workspace, name, found)
    return {name: found[name] for name in configs}


def prepare(workspace: Workspace, name: str, others: Mapping[str, Prepared]) -> Prepared:
    """The teacher of that name, fine-tuned if it has to be and has not been yet. others: those that it speaks for.

    Raises CheckpointError when the weights found are damaged or have other labels, and what the teacher's kind raises.
    """
    config = workspace.experiment.teachers[name]
    if config.training is not None:
        return _prepare_trained(workspace, name, config.training)
    members = {member: others[member] for member in config.speaks_for}

    def build() -> Teacher:
        return frozen_teacher(workspace, name, {who: member.teacher for who, member in members.items()})

    teacher = build()
    if not config.network and not members:
        teacher.require(workspace.mix.training(Readers({}, {})))
    origin = {who: hash_of(member.identity) for who, member in members.items()} or teacher.origin()
    return Prepared(build, {**origin, **circumstances(workspace, name, config)}, {})


def untrained(workspace: Workspace, name: str, training: Finetune) -> Untrained:
    """The network of that name as fine-tuning starts from it, and where its trained weights are looked for."""
    config = workspace.experiment.teachers[name]
    torch.manual_seed(mix(training.seed))
    teacher = _new(workspace, name, {})
    made_from = {
        "start": checkpoint.weights_hash(teacher.state_dict()),  # pretrained ones too, wherever they came from
        "networks": networks(teacher),
        "config": config.model_dump(mode="json", by_alias=True, exclude={"layers"}),
        "tasks": classes(workspace, config),
        "data": [workspace.mix.fingerprint(split, config.tasks) for split in ("train", "validation")],
        "labels": {m.name: {t: m.labels(t) for t in config.tasks if t in m.tasks} for m in workspace.mix.members},
        "readers": reads(workspace, name),
        "code": code_of(workspace, name),
        "packages": packages(),
    }
    return Untrained(teacher, made_from, workspace.places.teachers / f"{name}-{hash_of(made_from)[:16]}")


def _prepare_trained(workspace: Workspace, name: str, training: Finetune) -> Prepared:
    config = workspace.experiment.teachers[name]
    start = untrained(workspace, name, training)
    folder, tasks = start.folder, start.teacher.tasks
    network = hash_of(start.made_from["networks"])
    if not told_by_main(checkpoint.exists(folder), workspace.accelerator):
        _train_in_turn(workspace, start, training)
    _, facts, sha256 = checkpoint.load(folder)
    _require_labels(folder, facts, tasks)

    def build() -> Teacher:
        new = _new(workspace, name, {})
        new.load_state_dict(checkpoint.load(folder)[0])
        return _frozen(workspace, new)

    identity = {"weights": sha256, "networks": network, **circumstances(workspace, name, config)}
    return Prepared(build, identity, facts, folder)


def _require_labels(folder: Path, facts: Mapping[str, Any], tasks: Mapping[str, Task]) -> None:
    """Raises CheckpointError when the weights were trained for labels of another order."""
    for name, task in tasks.items():
        if (found := facts["labels"].get(name)) != list(task.labels):
            raise CheckpointError(
                f"{folder}: trained for the labels {found} of {name}, in this order; the task has {list(task.labels)}; "
                "delete the folder and run again"
            )


def _new(workspace: Workspace, name: str, members: Mapping[str, Speaker]) -> Teacher:
    """A teacher as its kind makes it; new heads come from torch's random state."""
    config = workspace.experiment.teachers[name]
    kind = plugins.load("teachers", config.kind).Teacher
    tasks = {task: workspace.tasks[task] for task in config.tasks}
    made_from = (config, name, tasks, workspace.reader(name))
    teacher: Teacher = kind(*made_from, members) if config.speaks_for else kind(*made_from)
    return teacher


def frozen_teacher(workspace: Workspace, name: str, members: Mapping[str, Speaker]) -> Teacher:
    """A new teacher of a kind that is not trained here, frozen and on its device. members: those that it speaks for."""
    return _frozen(workspace, _new(workspace, name, members))


def _frozen(workspace: Workspace, teacher: Teacher) -> Teacher:
    teacher.to(workspace.accelerator.device)
    teacher.freeze()
    return teacher


def new_student(workspace: Workspace, prepared: Mapping[str, Prepared], teachers: Mapping[str, Speaker]) -> Student:
    """A new student; its weights come from torch's random state, and from the run or the teachers that it starts from.

    Its encoders are adapted, as the experiment says.
    teachers: as they speak; those whose heads it takes are among them.
    Raises ValueError when a teacher's weights do not suit it, CheckpointError when an earlier student's do not.
    """
    student, section = workspace.student(teachers), workspace.experiment.student
    if (earlier := earlier_student(section)) is not None:
        copy_student(student, earlier)
    take_heads(student, workspace.taken_heads(teachers), earlier)
    for modality, encoder in (("text", section.text), ("image", section.image)):
        if encoder is not None and encoder.start is not None:
            folder = prepared[encoder.start.teacher].folder
            assert folder is not None  # these kinds of teacher are trained here
            # A teacher that speaks from its cache is not in memory, and need not be.
            weights, _, _ = checkpoint.load(folder)
            prefix = "encoder.model."
            own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            copy_blocks(student.get_submodule(f"encoders.{modality}.model"), own, encoder.start.layers)
    adapt(student, section.adapt)
    return student


def _always(corpus: Corpus, epoch: int) -> Corpus:
    return corpus


def learners(teacher: Teacher) -> Players:
    """Who takes part in the fine-tuning of a teacher: the teacher, by the supervised loss of each of its tasks."""
    supervised = plugins.load("losses", "supervised")
    setting = Setting(teacher.tasks, teacher.shape, {})
    terms = Terms({t: supervised.Loss(supervised.Config(task=t), setting) for t in teacher.tasks})
    fixed = plugins.load("weighting", "fixed")
    weighting = fixed.Weighting(fixed.Config(), list(teacher.tasks))
    return Players(teacher, {}, terms, weighting, teacher.tasks, reader=teacher.name)


def finetune_settings(training: Finetune) -> Train:
    """How the loop runs while it fine-tunes a teacher."""
    return Train(**training.model_dump(exclude={"seed", "lora"}))


def _train_in_turn(workspace: Workspace, start: Untrained, training: Finetune) -> None:
    """Two runs may need the same teacher at the same time: the second waits, and finds what the first has made."""
    main, folder, tasks = workspace.accelerator.is_main_process, start.folder, start.teacher.tasks
    with in_turn(folder.parent, f".{folder.name}.lock", workspace.say) if main else nullcontext():
        if told_by_main(checkpoint.exists(folder), workspace.accelerator):
            return
        checkpoints = _checkpoints(workspace, start, training)
        facts = _finetune(workspace, start.teacher, training, folder, checkpoints)
        labels = {task: list(own.labels) for task, own in tasks.items()}
        with workspace.accelerator.main_process_first():
            if main:
                checkpoint.save(folder, start.teacher.state_dict(), {**facts, "labels": labels})
                checkpoints.remove()


def _checkpoints(workspace: Workspace, start: Untrained, settings: Finetune) -> Checkpoints:
    """Of a teacher's training, beside where it will lie."""
    processes = str(workspace.accelerator.num_processes)
    made_from = {"teacher": hash_of(start.made_from), "seed": str(settings.seed), "number of processes": processes}
    return Checkpoints(start.folder.with_name(f"{start.folder.name}.unfinished"), made_from, workspace.say)


def _finetune(
    workspace: Workspace, teacher: Teacher, settings: Finetune, folder: Path, checkpoints: Checkpoints
) -> dict[str, Any]:
    started = time.perf_counter()
    readers, tasks = teacher.readers, list(teacher.tasks)
    if settings.lora is not None:
        add_lora(teacher, settings.lora)
    with saves_when_asked():
        trained = train(
            learners(teacher),
            partial(_always, workspace.mix.split("train", readers, tasks)),
            workspace.mix.split("validation", readers, tasks),
            finetune_settings(settings),
            settings.seed,
            workspace.accelerator,
            folder.parent / "logs" / folder.name,
            progress=workspace.follow(f"fine-tune {teacher.name}"),
            keeper=Keeper(checkpoints, workspace.experiment.train.checkpoint, workspace.accelerator, workspace.say),
        )
    if settings.lora is not None:
        merge_lora(teacher)
    return {
        "epoch": trained.epoch,
        "value": trained.value,
        "history": trained.history,
        "seconds": time.perf_counter() - started,
    }
