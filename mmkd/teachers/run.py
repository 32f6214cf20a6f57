"""An earlier run's student as a teacher: born-again networks (1805.04770), teaching assistants (1902.03393)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field, Strict

from mmkd.checkpoint import CheckpointError
from mmkd.config.layers import Layer, Layers
from mmkd.config.plugin_base import Modality, TeacherConfig
from mmkd.data.corpus import Readers
from mmkd.heads import TaughtHead, taught_heads
from mmkd.student.stored import find_student
from mmkd.student.student import READER
from mmkd.tasks.base import Task
from mmkd.teachers.base import Teacher as Base
from mmkd.teachers.base import Texts
from mmkd.types import Batch, Outputs, OutputShape

if TYPE_CHECKING:
    from mmkd.student.student import Student


class Config(TeacherConfig):
    """run: folder of one seed of a run, or the record in it, from the working folder or below MMKD_DATA.

    reads: the modalities that the run's student reads. layers: to keep, by modality, as
    `mmkd.config.layers` names them.
    """

    own_heads: ClassVar[bool] = True

    kind: Literal["run"] = "run"
    run: str
    reads: Annotated[tuple[Modality, ...], Strict(False), Field(min_length=1)]
    layers: dict[Modality, Layers] = {}

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """As stated."""
        return self.reads

    def layers_of(self, modality: Modality) -> tuple[Layer, ...]:
        """Blocks of that modality's encoder and what is inside them."""
        return self.layers.get(modality, ())

    def files(self) -> dict[str, str]:
        """The run's folder."""
        return {"run": self.run}


class Teacher(Base):
    """Speaks as the student did: about any example with a modality that it reads, and about the words it reads."""

    code = ("student", "heads.py", "checkpoint.py")
    config: Config

    def __init__(self, config: Config, name: str, tasks: Mapping[str, Task], readers: Readers) -> None:
        """Build the student with its weights.

        Raises CheckpointError for a folder that holds no whole student, and for one that reads other modalities, lacks
        a task, or has a task's labels in another order. ValueError for a layer that it does not have.
        """
        super().__init__(config, name, tasks, readers)
        stored = find_student(config.run, f"teachers.{name}.run")
        stored.require_reads(config.reads, f"teachers.{name}.reads")
        for task, ours in tasks.items():
            if task not in stored.tasks:
                text = f"the student of {config.run} has no head for {task}; it has {list(stored.tasks)}"
                raise CheckpointError(f"teachers.{name}.tasks: {text}")
            stored.require_same(task, ours, f"teachers.{name}.tasks")
        self.student: Student = stored.student({modality: config.layers_of(modality) for modality in config.reads})
        shape = self.student.shape
        hidden: dict[str, dict[Layer, int]] = {
            modality: {layer: shape.hidden[modality][layer] for layer in config.layers_of(modality)}
            for modality in config.reads
        }
        self.shape = OutputShape(shape.pooled, hidden, shape.depth, shape.fused, shape.heads)

    @classmethod
    def readers_of(cls, config: Config, name: str, texts: Texts, folder: Path) -> Readers:
        """The tokenizer and the image size that the student was trained with."""
        own = find_student(config.run, f"teachers.{name}.run").readers
        text, image = own.text.get(READER), own.image.get(READER)
        return Readers({} if text is None else {name: text}, {} if image is None else {name: image})

    def forward(self, batch: Batch) -> Outputs:
        """Logits of its tasks, the projected feature of each modality, their fusion, and the layers kept."""
        own = replace(
            batch,
            tokens={READER: batch.tokens[self.name]} if "text" in self.config.reads else {},
            images={READER: batch.images[self.name]} if "image" in self.config.reads else {},
        )
        said = self.student(own)
        kept = {
            modality: {layer: said.hidden[modality][layer] for layer in layers}
            for modality, layers in self.shape.hidden.items()
        }
        logits = {task: said.logits[task] for task in self.tasks}
        return Outputs(logits, said.speaks, said.words, said.pooled, said.has, kept, said.fused)

    def taught_heads(self) -> dict[str, TaughtHead]:
        """On the fused feature, as the student had them."""
        return taught_heads(self.student.heads, self.tasks, self.shape, ())
