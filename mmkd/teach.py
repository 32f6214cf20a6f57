"""Teachers made ready: fine-tuned once, found again by the hash of what made them, frozen.

A teacher that lacks the heads for its tasks is trained with the same loop as the student, on the labelled rows of
the `train` splits; validation chooses its epoch. One that is served from the cache is not kept in memory.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mmkd import checkpoint
from mmkd.arrays import code_hash
from mmkd.checkpoint import CheckpointError
from mmkd.config import plugins
from mmkd.config.experiment import Train
from mmkd.config.plugin_base import Finetune, TeacherConfig
from mmkd.data.corpus import Corpus, Readers
from mmkd.encoders.start import copy_blocks
from mmkd.environment import package_versions
from mmkd.lora import add_lora, merge_lora
from mmkd.losses.base import Setting
from mmkd.objective import Terms
from mmkd.processes import told_by_main
from mmkd.record import hash_of
from mmkd.student.start import copy_student, earlier_student
from mmkd.student.student import Student
from mmkd.tasks.base import Task
from mmkd.teachers.base import Speaker, Teacher
from mmkd.train import Players, mix, train
from mmkd.workspace import Workspace

SOURCE = Path(__file__).parent
CODE = (
    *("types.py", "data/encode.py", "data/tokens.py", "data/pixels.py", "data/corpus.py", "data/batches.py"),
    *("data/relabel.py", "data/sampling.py", "lessons.py", "processes.py"),
    *("encoders", "heads.py", "teachers/base.py", "lora.py"),
    *("tasks/base.py", "tasks/_cross_entropy.py", "tasks/_metrics.py", "losses/base.py", "losses/supervised.py"),
    *(
        "weighting/base.py",
        "weighting/fixed.py",
        "objective.py",
        "diagnostics.py",
        "train.py",
        "evaluate.py",
        "teach.py",
    ),
)
"""What a teacher's weights and stored outputs depend on, beside its own kind and those of its tasks."""

UNREAD = {"_name_or_path", "transformers_version", "architectures"}
"""Keys of a model's config that say where it came from, and change nothing."""


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
    return Prepared(build, {**origin, **_circumstances(workspace, name, config)}, {})


def untrained(workspace: Workspace, name: str, training: Finetune) -> Untrained:
    """The network of that name as fine-tuning starts from it, and where its trained weights are looked for."""
    config = workspace.experiment.teachers[name]
    torch.manual_seed(mix(training.seed))
    teacher = _new(workspace, name, {})
    made_from = {
        "start": checkpoint.weights_hash(teacher.state_dict()),  # pretrained ones too, wherever they came from
        "networks": _networks(teacher),
        "config": config.model_dump(mode="json", by_alias=True, exclude={"layers"}),
        "tasks": _classes(workspace, config),
        "data": [workspace.mix.fingerprint(split, config.tasks) for split in ("train", "validation")],
        "labels": {m.name: {t: m.labels(t) for t in config.tasks if t in m.tasks} for m in workspace.mix.members},
        "readers": _reads(workspace, name),
        "code": _code_of(workspace, name),
        "packages": _packages(),
    }
    return Untrained(teacher, made_from, workspace.places.teachers / f"{name}-{hash_of(made_from)[:16]}")


def _prepare_trained(workspace: Workspace, name: str, training: Finetune) -> Prepared:
    config = workspace.experiment.teachers[name]
    start = untrained(workspace, name, training)
    teacher, folder, tasks = start.teacher, start.folder, start.teacher.tasks
    networks = hash_of(start.made_from["networks"])
    if not told_by_main(checkpoint.exists(folder), workspace.accelerator):
        facts = _finetune(workspace, teacher, training, folder)
        labels = {task: list(own.labels) for task, own in tasks.items()}
        with workspace.accelerator.main_process_first():
            if workspace.accelerator.is_main_process:
                checkpoint.save(folder, teacher.state_dict(), {**facts, "labels": labels})
    _, facts, sha256 = checkpoint.load(folder)
    _require_labels(folder, facts, tasks)

    def build() -> Teacher:
        new = _new(workspace, name, {})
        new.load_state_dict(checkpoint.load(folder)[0])
        return _frozen(workspace, new)

    identity = {"weights": sha256, "networks": networks, **_circumstances(workspace, name, config)}
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


def _circumstances(workspace: Workspace, name: str, config: TeacherConfig) -> dict[str, str]:
    """What a teacher's outputs depend on beside its weights, by name."""
    plain = config.model_dump(mode="json", by_alias=True, exclude={"layers"})
    layers = {modality: list(config.layers_of(modality)) for modality in config.modalities}
    return {
        "code": _code_of(workspace, name),
        "config": hash_of(plain),
        "classes": hash_of(_classes(workspace, config)),
        "reads": hash_of(_reads(workspace, name)),
        "layers": json.dumps(layers),
        "packages": hash_of(_packages()),
        "device": workspace.accelerator.device.type,
    }


def _classes(workspace: Workspace, config: TeacherConfig) -> dict[str, list[Any]]:
    """Each task, with its labels in their order."""
    tasks = {task: workspace.tasks[task] for task in config.tasks}
    return {name: [task.config.model_dump(mode="json"), list(task.labels)] for name, task in tasks.items()}


def _packages() -> dict[str, str]:
    return {k: v for k, v in package_versions().items() if k in {"torch", "transformers", "timm", "peft"}}


def new_student(workspace: Workspace, prepared: Mapping[str, Prepared]) -> Student:
    """A new student; its weights come from torch's random state, and from the run or the teachers that it starts from.

    Raises ValueError when a teacher's weights do not suit it, CheckpointError when an earlier student's do not.
    """
    student, section = workspace.student(), workspace.experiment.student
    if (earlier := earlier_student(section)) is not None:
        copy_student(student, earlier)
    for modality, encoder in (("text", section.text), ("image", section.image)):
        if encoder is not None and encoder.start is not None:
            folder = prepared[encoder.start.teacher].folder
            assert folder is not None  # these kinds of teacher are trained here
            # A teacher that speaks from its cache is not in memory, and need not be.
            weights, _, _ = checkpoint.load(folder)
            prefix = "encoder.model."
            own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
            copy_blocks(student.get_submodule(f"encoders.{modality}.model"), own, encoder.start.layers)
    return student


def _always(corpus: Corpus, epoch: int) -> Corpus:
    return corpus


def learners(teacher: Teacher) -> Players:
    """Who takes part in the fine-tuning of a teacher: the teacher, by the supervised loss of each of its tasks."""
    supervised = plugins.load("losses", "supervised")
    setting = Setting(teacher.tasks, teacher.shape, {})
    terms = Terms({t: supervised.Loss(supervised.Config(task=t), setting) for t in teacher.tasks})
    fixed = plugins.load("weighting", "fixed")
    return Players(teacher, {}, terms, fixed.Weighting(fixed.Config(), list(teacher.tasks)), teacher.tasks)


def finetune_settings(training: Finetune) -> Train:
    """How the loop runs while it fine-tunes a teacher."""
    return Train(**training.model_dump(exclude={"seed", "lora"}))


def _finetune(workspace: Workspace, teacher: Teacher, settings: Finetune, folder: Path) -> dict[str, Any]:
    started = time.perf_counter()
    readers, tasks = teacher.readers, list(teacher.tasks)
    adapted = None if settings.lora is None else add_lora(teacher, settings.lora)
    trained = train(
        learners(teacher),
        partial(_always, workspace.mix.split("train", readers, tasks)),
        workspace.mix.split("validation", readers, tasks),
        finetune_settings(settings),
        settings.seed,
        workspace.accelerator,
        folder.parent / "logs" / folder.name,
        progress=workspace.follow(f"fine-tune {teacher.name}"),
    )
    if adapted is not None:
        merge_lora(adapted)
    return {
        "epoch": trained.epoch,
        "value": trained.value,
        "history": trained.history,
        "seconds": time.perf_counter() - started,
    }


def _networks(teacher: Teacher) -> list[Any]:
    """What the networks compute with their weights: their modules, and the configs of those that come from a folder."""
    configs: list[Any] = [module.config for module in teacher.modules() if hasattr(module, "config")]
    plain = [config.to_dict() for config in configs if hasattr(config, "to_dict")]  # transformers' own
    return [str(teacher), [{k: v for k, v in each.items() if k not in UNREAD} for each in plain]]


def _reads(workspace: Workspace, name: str) -> list[str]:
    readers = workspace.reader(name)
    text, image = readers.text.values(), readers.image.values()
    return [*(reader.identity for reader in text), *(reader.identity for reader in image)]


def _code_of(workspace: Workspace, name: str) -> str:
    config = workspace.experiment.teachers[name]
    plugin = plugins.load("teachers", config.kind)
    kinds = {Path(str(plugin.__file__))}
    kinds |= {Path(str(plugins.load("tasks", workspace.tasks[t].config.kind).__file__)) for t in config.tasks}
    return code_hash(*(SOURCE / part for part in (*CODE, *plugin.Teacher.code)), *sorted(kinds))
