"""The experiment: everything that a run depends on, resolved and typed. No torch here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializeAsAny, Strict, model_validator

from mmkd.config.adapt import Adapt
from mmkd.config.adversarial import Adversarial
from mmkd.config.augment import Augment
from mmkd.config.cache import Features
from mmkd.config.changes import Change
from mmkd.config.checkpoint import Checkpoint
from mmkd.config.encoders import StudentImage, StudentText
from mmkd.config.live import Live
from mmkd.config.mixing import Mixing, Size
from mmkd.config.mixup import Mixup
from mmkd.config.plugin_base import LossConfig, Modality, TaskConfig, TeacherConfig, WeightingConfig
from mmkd.config.section import Fraction, NonNegativeFloat, PositiveFloat, PositiveInt, Section
from mmkd.config.track import Track

PLUGIN_MAPS = ("tasks", "teachers", "losses")
"""Sections of the experiment that map a name to a plug-in; each is also the name of the plug-ins' folder."""

Name = Annotated[
    str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="A letter, then letters, digits and underscores.")
]

TrainSplits = Annotated[tuple[Literal["train", "transfer"], ...], Strict(False), Field(min_length=1)]


class DataUse(Section):
    """One data set of the mix.

    card: a name in `data_cards/`, or the path of a card, relative to the experiment file.
    train: the splits whose rows the student trains on; `transfer` rows have no labels, only teachers speak there.
    tasks: experiment task -> the card's task, where the names differ; default: the tasks of equal name.
    labels: experiment task -> the card's label -> what the task calls it; null leaves such rows unlabelled. A map of a
        task over words names entity types, and `O` for those that are no entities here.
    limit: use only the first n rows of a split.
    policy: reason of a finding -> `refuse`, `quarantine` or `accept`, in place of the card's own.
    options: keys of the card's source to set otherwise (for instance the knobs of a generator).
    """

    card: str
    train: TrainSplits = ("train",)
    tasks: dict[str, str] | None = None
    labels: dict[str, dict[str, str | None]] = {}
    limit: dict[Literal["train", "transfer", "validation", "test"], PositiveInt] = {}
    policy: dict[str, Literal["refuse", "quarantine", "accept"]] = {}
    options: dict[str, Any] = {}


class FromRun(Section):
    """An earlier run's student: its tokenizer, encoders, width, fusion, and the heads of the tasks that it shares.

    run: folder of one seed of a run, or the record in it, from the working folder or below MMKD_DATA.
    reads: the modalities that the run's student reads.
    """

    run: str
    reads: Annotated[tuple[Modality, ...], Strict(False), Field(min_length=1)]


class TakenHead(Section):
    """A head that ends in a teacher's (SimKD, 2203.14001): a projector, which learns, then the teacher's head as it is.

    teacher: its name; of a kind that has heads of its own.
    """

    teacher: str


class Student(Section):
    """The shared student: an encoder for each modality, fusion to `width`, a head for each task.

    heads: tasks over examples for which it takes a teacher's head; it has one of its own for the others.
    start: go on from an earlier run's student, in place of `text` and `image`; `width` and `fusion` are its own.
    adapt: how encoders learn whose own weights stay as they are.
    fusion: `linear` has no layer but linear ones between encoders and logits, for words as for examples.
    dropout: on the fused representation and the words, before the heads.
    modality_dropout: chance that a training example with both modalities loses one, so that the student
        learns to work from either alone.
    """

    start: FromRun | None = None
    text: StudentText | None = None
    image: StudentImage | None = None
    adapt: Adapt = Adapt()
    width: PositiveInt = 128
    fusion: Literal["mlp", "linear"] = "mlp"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    modality_dropout: Fraction = 0.1
    heads: dict[Name, TakenHead] = {}

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        other = [name for name in ("text", "image") if getattr(self, name) is not None]
        if self.start is not None and other:
            raise ValueError(f"`start` brings that student's own encoders; found {' and '.join(other)} beside it")
        return self

    @property
    def reads(self) -> tuple[Modality, ...]:
        """The modalities that it has an encoder for."""
        if self.start is not None:
            return self.start.reads
        own: dict[Modality, object] = {"text": self.text, "image": self.image}
        return tuple(modality for modality, encoder in own.items() if encoder is not None)


class Average(Section):
    """An average of the student's weights over the steps, which is evaluated and kept in their place.

    kind: `ema`, where older weights fade, or `mean`, where all count alike (SWA, 1803.05407).
    decay: of `ema`, by each step. start: share of the run's steps before the first that counts.
    """

    kind: Literal["ema", "mean"] = "ema"
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    start: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Train(Section):
    """The training loop.

    lr: peak learning rate of AdamW; linear warm-up over the fraction `warmup` of the steps, then a cosine to 0.
    patience: epochs without a better validation score before the run stops; null never stops early.
    accumulate: batches whose gradients are added before a step.
    clip: largest gradient norm; null leaves gradients as they are.
    non_finite: what happens at the first number of a step that is inf or NaN: `stop` ends the run and names it; `skip`
        leaves the step out, says and counts it, and stops after 10 in a row.
    average: of the student's weights over the steps; null keeps them as they are.
    adversarial: learn from each batch also as it is worst; the two objectives are added, term by term, and then
        weighted. null: from the batch as it is.
    mixup: learn tasks over examples from mixtures of two; null: from each example alone.
    diagnose_every: steps from one look at the terms' gradients, the tasks' conflict and the teachers to the next; their
        means stand in each epoch's history and in TensorBoard. It changes nothing in the run; null never looks.
    compile: compile the student's encoders with `torch.compile`: a minute or more before the first step, then fewer and
        larger operations. Numbers differ from those without in the last digits.
    checkpoint: how often the run saves what it needs to go on after it was interrupted, which changes no number.
    preflight: before the first step, see on a few rows whether teachers, terms and weighting do what they promise, and
        stop the run where one does not. It takes seconds and changes nothing in the run.
    cache: read the teachers' outputs from the cache (true) or run the teachers live (false), as `live` says.
    cache_logits_top: store only so many of the largest logits of a row of classes; the others share evenly the
        probability that is left at temperature 1.
    cache_features: store a narrower projection of the features, which the losses then learn from.
    """

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 32
    lr: PositiveFloat = 5e-4
    weight_decay: NonNegativeFloat = 0.01
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    patience: PositiveInt | None = None
    accumulate: PositiveInt = 1
    clip: PositiveFloat | None = 1.0
    non_finite: Literal["stop", "skip"] = "stop"
    precision: Literal["fp32", "bf16"] = "fp32"
    workers: Annotated[int, Field(ge=0)] = 0
    threads: PositiveInt | None = None
    average: Average | None = None
    adversarial: Adversarial | None = None
    mixup: Mixup | None = None
    diagnose_every: PositiveInt | None = 100
    compile: bool = False
    checkpoint: Checkpoint = Checkpoint()
    preflight: bool = True
    cache: bool = True
    live: Live = Live()
    cache_dtype: Literal["fp32", "fp16", "bf16"] = "fp16"
    cache_logits_top: PositiveInt | None = None
    cache_features: Features | None = None

    @model_validator(mode="after")
    def _lossy_only_in_a_cache(self) -> Self:
        if not self.cache and (self.cache_logits_top is not None or self.cache_features is not None):
            raise ValueError("`cache_logits_top` and `cache_features` go with `cache: true`; live teachers say all")
        return self

    @model_validator(mode="after")
    def _perturbed_where_it_can_be(self) -> Self:
        if self.compile and self.adversarial is not None and self.adversarial.text is not None:
            raise ValueError(
                "`adversarial.text` moves what a compiled encoder no longer shows; expected one of the two"
            )
        if self.mixup is not None and self.batch_size == 1:
            raise ValueError("`mixup` mixes examples of a batch; expected a `batch_size` above 1")
        return self


class Experiment(Section):
    """One experiment, as `mmkd run` carries it out for each of its seeds.

    mixing: how often the rows of each data set are read. augment: views of the training rows; null: the rows alone.
    track: a service that shows runs, beside TensorBoard's files; it changes no number.
    changes: values that keys take while the run goes on, by a name for each time that some do.
    """

    name: Name
    description: str = ""
    data: Annotated[dict[Name, DataUse], Field(min_length=1)]
    mixing: Mixing = Size()
    augment: Augment | None = None
    tasks: Annotated[dict[Name, SerializeAsAny[TaskConfig]], Field(min_length=1)]
    teachers: dict[Name, SerializeAsAny[TeacherConfig]] = {}
    student: Student
    losses: Annotated[dict[Name, SerializeAsAny[LossConfig]], Field(min_length=1)]
    weighting: SerializeAsAny[WeightingConfig]
    train: Train = Train()
    track: Track | None = None
    changes: dict[Name, Change] = {}
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(strict=False, min_length=1)] = (0,)

    @property
    def new_words(self) -> bool:
        """Whether an epoch may read other words than the first."""
        return self.augment is not None and self.augment.text is not None

    def dump(self) -> dict[str, Any]:
        """The experiment as plain data, every default written out; `load` gives back an equal experiment."""
        return self.model_dump(mode="json", by_alias=True)
