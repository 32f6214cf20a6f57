"""`c2kd`: a teacher of another modality, through proxies that meet it halfway, on rows that rank classes alike.

After Huo et al., CVPR 2024, "C2KD: bridging the modality gap for cross-modal knowledge distillation", from memory. A
teacher of another modality orders the classes of some rows as the student never will, and is sure where the student
cannot be. Three ideas of the paper are taken.
- Proxies: a head on the teacher's pooled feature (proxy teacher) and one on the student's (proxy student). Each learns
  from its own network's probabilities, KL(t || t') and KL(s || s'), and across modalities from the other proxy.
- Both directions: the proxies teach each other, and the proxy student hands on to the student, KL(s' || s).
- Selection on the fly: across modalities only rows count on which the two proxies rank the classes alike: Kendall's
  rank correlation, (concordant - discordant pairs) / pairs, above a threshold. And only the classes other than the
  label are compared, each side's probabilities over their sum: the modality that is better at the label does not rule.
The term is T^2 [KL(t || t') + KL(s || s') + KL(s' || s)], mean over labelled rows, plus
T^2 [NKL(t' || s') + NKL(s' || t')], mean over the selected ones, with NKL over the classes other than the label. No
gradient goes through a first argument.

What is not taken: the paper also trains the teacher (its proxy teaches it back), which here stays as it is; and its
proxies are branches of the networks, here linear heads on pooled features. The student's proxy reads one of its
features; its own logits read all that the student sees. The threshold's and the temperature's defaults are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, TaughtLossConfig, TeacherNeeds
from mmkd.config.section import PositiveFloat
from mmkd.losses import base
from mmkd.losses._classes import without_label
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.losses._pooled import pooled_pair, pooled_rows, pooled_widths
from mmkd.losses._pooled_config import PooledConfig
from mmkd.types import Batch, Outputs


class Config(TaughtLossConfig, PooledConfig):
    """Learn a task over examples from a teacher of another modality, where both rank its classes alike.

    modality: of the teacher's pooled feature. to: the student's feature that its proxy reads.
    threshold: of Kendall's rank correlation, from -1 to 1; rows above it are selected. temperature: of all logits.
    """

    logits: ClassVar[LogitsForm | None] = "classes"

    kind: Literal["c2kd"] = "c2kd"
    to: Literal["text", "image", "fused"]
    threshold: Annotated[float, Field(ge=-1, lt=1)] = 0.0
    temperature: PositiveFloat = 4.0

    @property
    def needs_labels(self) -> bool:
        """The label is what is left out."""
        return True

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teacher's logits for the task and its pooled feature."""
        return (TeacherNeeds(self.teacher, tasks=(self.task,), pooled=True, modality=self.modality),)


class Loss(base.Loss):
    """Rows: labelled; the student's feature and the teacher's modality are there."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build the proxies.

        Raises ValueError for a task over words, and for one of two classes: without the label one is left.
        """
        super().__init__(config, setting)
        task = setting.tasks[config.task]
        if task.level != "example" or len(task.labels) < 3:
            found = f"`{config.task}` is over {task.level}s, with {len(task.labels)} classes"
            raise ValueError(f"c2kd: {found}; expected a task over examples, with three classes or more")
        own, taught = pooled_widths(config, setting)
        self.student, self.teacher = task.head(own), task.head(taught)

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """In nats."""
        config, teacher = self.config, teachers[self.config.teacher]
        rows = pooled_rows(config, student, teachers)
        features, taught_features = pooled_pair(config, student, teachers)
        labelled = self.setting.tasks[config.task].labelled_rows(batch)[rows]
        logits, taught, labels = (
            each[rows][labelled]
            for each in (student.logits[config.task], teacher.logits[config.task], batch.labels[config.task])
        )
        proxy = self.student(full_precision(features[labelled]))
        proxy_teacher = self.teacher(full_precision(taught_features[labelled].detach()))
        T = config.temperature
        within = divergence(taught, proxy_teacher, T) + divergence(logits, proxy, T) + divergence(proxy, logits, T)
        alike = rank_correlation(proxy, proxy_teacher) > config.threshold
        mine, theirs = (without_label(each[alike], labels[alike]) for each in (proxy, proxy_teacher))
        return within + divergence(theirs, mine, T) + divergence(mine, theirs, T)


def divergence(teacher: Float[Tensor, "R K"], student: Float[Tensor, "R K"], temperature: float) -> Float[Tensor, ""]:
    """T^2 KL(teacher || student) in nats, mean over rows; raw logits. No gradient reaches the first."""
    log_p, log_q = ((full_precision(logits) / temperature).log_softmax(-1) for logits in (teacher.detach(), student))
    return temperature**2 * mean_or_zero(kl_divergence(log_p, log_q))


def rank_correlation(one: Float[Tensor, "R K"], other: Float[Tensor, "R K"]) -> Float[Tensor, " R"]:
    """Kendall's rank correlation of each row's values, from -1 to 1; pairs that are equal in one count 0."""
    first, second = ((values[:, :, None] - values[:, None]).sign() for values in (one, other))
    classes = one.shape[-1]
    return (first * second).sum((1, 2)) / (classes * (classes - 1))
