"""The bases of the plug-ins' `Config` classes, one for each plug-in folder. No torch here.

A `Config` says all that can be known about a plug-in before a model is loaded: its keys and what it needs.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from mmkd.config.layers import Block, Layer, inside
from mmkd.config.looks import Look
from mmkd.config.schedule import Coefficient
from mmkd.config.section import Names, NonNegativeFloat, Plugin, PositiveFloat, PositiveInt, Section

Modality = Literal["text", "image"]

LayerPair = Annotated[tuple[Layer, Layer], Strict(False)]
BlockPair = Annotated[tuple[Block, Block], Strict(False)]

LogitsForm = Literal["classes", "labels", "value"]
"""What K logits say. classes: one of K holds, with the probabilities softmax(logits); labels: each of K holds or not,
whatever the others do, with the probabilities sigmoid(logits); value: K is 1, and the logit is the value itself."""


@dataclass(frozen=True)
class TeacherNeeds:
    """What one loss asks of one teacher: logits for tasks, the pooled feature, and layers by name.

    heads: tasks over examples of which it needs the teacher's own head, and the feature that the head reads.
    """

    teacher: str
    tasks: tuple[str, ...] = ()
    heads: tuple[str, ...] = ()
    pooled: bool = False
    layers: tuple[Layer, ...] = ()
    modality: Modality | None = None  # the teacher must read this modality; None: any


@dataclass(frozen=True)
class StudentNeeds:
    """What one loss asks of the student: modalities that it must read, layers (None: the last block), further looks.

    Each distinct look is one more pass of the student over each batch, whichever losses ask for it.
    head: a task, and the teacher whose head of it the student must have taken.
    """

    modalities: tuple[Modality, ...] = ()
    layers: tuple[tuple[Modality, Layer | None], ...] = field(default=())
    looks: tuple[Look, ...] = ()
    head: tuple[str, str] | None = None


class TaskConfig(Plugin):
    """A task: what is predicted for each example or for each word of it. `logits`: how its logits are to be read.
    `ordered`: its labels stand from lowest to highest.

    labels: their names, in the order of the logits; null: as the first data set that labels the task has them.
    """

    level: ClassVar[Literal["example", "word"]]
    logits: ClassVar[LogitsForm] = "classes"
    ordered: ClassVar[bool] = False

    labels: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)] | None = None


class Lora(Section):
    """Low-rank adaptation (LoRA, 2106.09685): the model stays as it is, but for a product of two thin matrices.

    rank: of the product. alpha: it is multiplied by alpha / rank. targets: the layers that it is added to, by the end
    of their names (`query`, `value` for BERT). dropout: on what enters it.
    """

    rank: PositiveInt = 8
    alpha: PositiveInt = 16
    targets: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Finetune(Section):
    """How a teacher without heads for its tasks is trained on the labelled training rows, once for all runs.

    lr: peak learning rate of AdamW. patience: epochs without a better validation score before it stops.
    lora: train a low-rank addition and the heads alone; it is merged into the model afterwards.
    """

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 32
    lr: PositiveFloat = 5e-5
    weight_decay: NonNegativeFloat = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    patience: PositiveInt = 3
    seed: Annotated[int, Field(ge=0)] = 0
    lora: Lora | None = None


class TeacherConfig(Plugin):
    """A teacher: the tasks that it speaks about, and what kind of thing it is.

    network: whether it must run to speak, so that its outputs are cached. Otherwise it speaks from what is stored.
    sees_views: whether it can speak about an augmented view of a row, or about the row alone.
    own_heads: whether it has a head for each task on a feature that it gives too.
    """

    network: ClassVar[bool] = True
    sees_views: ClassVar[bool] = True
    own_heads: ClassVar[bool] = False

    tasks: Names

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Those that it gives features of."""
        return ()

    @property
    def over_words(self) -> bool:
        """Whether it can speak about words."""
        return "text" in self.modalities

    @property
    def training(self) -> Finetune | None:
        """How it is trained before it teaches; None for a teacher that is ready as it is."""
        return None

    @property
    def speaks_for(self) -> tuple[str, ...]:
        """Other teachers of the experiment, whose voices it joins."""
        return ()

    def layers_of(self, modality: Modality) -> tuple[Layer, ...]:
        """The layers of a modality that it keeps, as `mmkd.config.layers` names them."""
        return ()

    def files(self) -> dict[str, str]:
        """Files and folders of this machine that it reads, by the key that names them."""
        return {}


class LossConfig(Plugin):
    """A term of the objective. `any_teacher`: a row counts where one of its teachers speaks; otherwise where all do.
    `draws`: whether it draws random numbers, from torch's generator, so that its value depends on a row's place.

    weight: its own coefficient, a number or a schedule.
    """

    any_teacher: ClassVar[bool] = False
    draws: ClassVar[bool] = False

    weight: Coefficient = 1.0

    @property
    def group(self) -> str | None:
        """The task whose group the term is summed into; None for a term that stands outside the weighting."""
        return None

    @property
    def needs_labels(self) -> bool:
        """Whether only labelled rows count; so without a teacher."""
        return not self.teacher_needs()

    @property
    def zero_where_equal(self) -> bool:
        """Whether it claims to be 0, without a gradient, where the student says what its one teacher says."""
        return False

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """What must be computed, cached and checked for of the teachers."""
        return ()

    def student_needs(self) -> StudentNeeds:
        """What must be computed of the student."""
        return StudentNeeds()


class TaskLossConfig(LossConfig):
    """A term that belongs to one task, and so to that task's group. `logits`: the form that it reads; None: any.
    `ordered`: only classes with an order have what it reads. `trains_head`: whether the task's head learns by it.

    task: its name in the experiment.
    """

    logits: ClassVar[LogitsForm | None] = None
    ordered: ClassVar[bool] = False
    trains_head: ClassVar[bool] = True

    task: str

    @property
    def group(self) -> str | None:
        """The term's own task."""
        return self.task


class TaughtLossConfig(TaskLossConfig):
    """A term that learns a task from what a teacher says of it.

    teacher: its name in the experiment.
    """

    teacher: str

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's logits for the task."""
        return (TeacherNeeds(self.teacher, tasks=(self.task,)),)


class SeveralTaughtLossConfig(TaskLossConfig):
    """A term that learns a task from several teachers, on rows about which one of them speaks or more.

    teachers: their names in the experiment -> weight, above 0.
    """

    any_teacher: ClassVar[bool] = True

    teachers: Annotated[dict[str, PositiveFloat], Field(min_length=1)]

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """Each teacher's logits for the task."""
        return tuple(TeacherNeeds(name, tasks=(self.task,)) for name in self.teachers)


class LayerLossConfig(LossConfig):
    """A term between a hidden layer of the student and one of a teacher, of the same modality.

    layer: the teacher's: a block's number, counted from 0, `embedding`, or the path of a module in its model.
    student_layer: the student's; null is its last block.
    """

    teacher: str
    layer: Layer
    modality: Modality
    student_layer: Layer | None = None

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's layer."""
        return (TeacherNeeds(self.teacher, layers=(self.layer,), modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The student's layer."""
        return StudentNeeds(modalities=(self.modality,), layers=((self.modality, self.student_layer),))


class LayerPairsLossConfig(LossConfig):
    """A term over pairs of hidden layers, of the student and of a teacher, of the same modality.

    pairs: the student's layer, then the teacher's that it learns from: numbers of blocks, counted from 0, `embedding`,
        or paths of modules.
    """

    teacher: str
    modality: Modality
    pairs: Annotated[tuple[LayerPair, ...], Strict(False), Field(min_length=1)]

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's layers."""
        layers = tuple(dict.fromkeys(layer for _, layer in self.pairs))
        return (TeacherNeeds(self.teacher, layers=layers, modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The student's layers."""
        layers = dict.fromkeys(layer for layer, _ in self.pairs)
        return StudentNeeds(modalities=(self.modality,), layers=tuple((self.modality, layer) for layer in layers))


class BlockPairsLossConfig(LossConfig):
    """A term over the self-attention of pairs of blocks, of the student and of a teacher, of the same modality.

    pairs: of blocks, counted from 0: the student's, then the teacher's that it learns from. The teacher keeps the
        latter's parts in its `layers`, as `5.query` and `5.key`.
    parts: what is needed of a block's self-attention.
    """

    parts: ClassVar[tuple[str, ...]]

    teacher: str
    modality: Modality
    pairs: Annotated[tuple[BlockPair, ...], Strict(False), Field(min_length=1)]

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The parts of the teacher's blocks."""
        blocks = dict.fromkeys(block for _, block in self.pairs)
        layers = tuple(inside(block, part) for block in blocks for part in self.parts)
        return (TeacherNeeds(self.teacher, layers=layers, modality=self.modality),)

    def student_needs(self) -> StudentNeeds:
        """The parts of the student's blocks."""
        blocks = dict.fromkeys(block for block, _ in self.pairs)
        layers = tuple((self.modality, inside(block, part)) for block in blocks for part in self.parts)
        return StudentNeeds(modalities=(self.modality,), layers=layers)


class WeightingConfig(Plugin):
    """How groups of terms are balanced.

    over: `tasks`, the sum of each task's terms; `parts`, the supervised and the distilled terms of each task apart, as
        `ner.supervised` and `ner.distilled`. A distilled part can reach 0, where learned weights run away but for their
        bounds.
    """

    over: Literal["tasks", "parts"] = "tasks"
