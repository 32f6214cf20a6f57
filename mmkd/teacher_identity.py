"""What determines a teacher's weights and what it says, by name: a change of any part makes it, or its cache, anew."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmkd.arrays import code_hash
from mmkd.config import plugins
from mmkd.config.plugin_base import TeacherConfig
from mmkd.environment import package_versions
from mmkd.record import hash_of
from mmkd.teachers.base import Teacher
from mmkd.workspace import Workspace

SOURCE = Path(__file__).parent
CODE = (
    *("types.py", "data/encode.py", "data/tokens.py", "data/pixels.py", "data/corpus.py", "data/batches.py"),
    *("data/relabel.py", "data/sampling.py", "lessons.py", "processes.py"),
    *("pretrained.py", "encoders", "heads.py", "teachers/base.py", "lora.py"),
    *("tasks/base.py", "tasks/_cross_entropy.py", "tasks/_metrics.py", "tasks/_spans.py"),
    *("losses/base.py", "losses/supervised.py"),
    *("weighting/base.py", "weighting/fixed.py", "looks.py", "mixup.py", "objective.py", "adversarial.py"),
    *("passes.py", "diagnostics.py", "changing.py", "averaging.py", "sums.py", "learning.py"),
    *("calls.py", "culprit.py", "finite.py"),
    *("train.py", "evaluate.py", "teach.py", "teacher_identity.py"),
)
"""What a teacher's weights and stored outputs depend on, beside its own kind and those of its tasks."""

UNREAD = {"_name_or_path", "transformers_version", "architectures"}
"""Keys of a model's config that say where it came from, and change nothing."""


def circumstances(workspace: Workspace, name: str, config: TeacherConfig) -> dict[str, str]:
    """What a teacher's outputs depend on beside its weights, by name."""
    plain = config.model_dump(mode="json", by_alias=True, exclude={"layers"})
    layers = {modality: list(config.layers_of(modality)) for modality in config.modalities}
    return {
        "code": code_of(workspace, name),
        "config": hash_of(plain),
        "classes": hash_of(classes(workspace, config)),
        "reads": hash_of(reads(workspace, name)),
        "layers": json.dumps(layers),
        "packages": hash_of(packages()),
        "device": workspace.accelerator.device.type,
    }


def classes(workspace: Workspace, config: TeacherConfig) -> dict[str, list[Any]]:
    """Each task, with its labels in their order."""
    tasks = {task: workspace.tasks[task] for task in config.tasks}
    return {name: [task.config.model_dump(mode="json"), list(task.labels)] for name, task in tasks.items()}


def packages() -> dict[str, str]:
    """Versions of the packages that its numbers depend on."""
    return {k: v for k, v in package_versions().items() if k in {"torch", "transformers", "timm", "peft"}}


def networks(teacher: Teacher) -> list[Any]:
    """What the networks compute with their weights: their modules, and the configs of those that come from a folder."""
    configs: list[Any] = [module.config for module in teacher.modules() if hasattr(module, "config")]
    plain = [config.to_dict() for config in configs if hasattr(config, "to_dict")]  # transformers' own
    return [str(teacher), [{k: v for k, v in each.items() if k not in UNREAD} for each in plain]]


def reads(workspace: Workspace, name: str) -> list[str]:
    """How it reads texts and images: tokenizers, sizes and normalisation."""
    readers = workspace.reader(name)
    text, image = readers.text.values(), readers.image.values()
    return [*(reader.identity for reader in text), *(reader.identity for reader in image)]


def code_of(workspace: Workspace, name: str) -> str:
    """Hash of the code that it depends on, its own kind and those of its tasks included."""
    config = workspace.experiment.teachers[name]
    plugin = plugins.load("teachers", config.kind)
    kinds = {Path(str(plugin.__file__))}
    kinds |= {Path(str(plugins.load("tasks", workspace.tasks[t].config.kind).__file__)) for t in config.tasks}
    return code_hash(*(SOURCE / part for part in (*CODE, *plugin.Teacher.code)), *sorted(kinds))
