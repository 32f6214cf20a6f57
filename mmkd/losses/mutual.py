"""`mutual`: the student's modalities teach each other (deep mutual learning, Zhang et al., CVPR 2018, 1706.00384).

The paper trains two networks, each on its cross-entropy plus the KL divergence to it of the other's probabilities:
L_1 = CE_1 + KL(p_2 || p_1), L_2 = CE_2 + KL(p_1 || p_2) (eq. 5 to 8). Here the two are the student's branches of text
and image, each with a head for the task that is the term's own, on the pooled feature. The term is L_1 + L_2. As in the
paper, whose networks are updated in turn, each branch takes the other's probabilities as they are: no gradient goes
through the first argument of KL. No teacher has a part in it; without labels both heads could agree on nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from mmkd.config.plugin_base import LogitsForm, StudentNeeds, TaskLossConfig
from mmkd.config.section import NonNegativeFloat
from mmkd.losses import base
from mmkd.losses._math import full_precision, kl_divergence, mean_or_zero
from mmkd.types import Batch, Outputs


class Config(TaskLossConfig):
    """Let text and image each predict a task over examples, and learn it from its labels and from each other.

    divergence: coefficient of the two KL divergences beside the two losses of the labels; the paper's is 1.
    """

    logits: ClassVar[LogitsForm | None] = "classes"
    trains_head: ClassVar[bool] = False

    kind: Literal["mutual"] = "mutual"
    divergence: NonNegativeFloat = 1.0

    def student_needs(self) -> StudentNeeds:
        """Both modalities."""
        return StudentNeeds(modalities=("text", "image"))


class Loss(base.Loss):
    """Rows: labelled, and the student reads text and image there."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build a head for each modality. Raises ValueError for a task over words, which an image says nothing of."""
        super().__init__(config, setting)
        task = setting.tasks[config.task]
        if task.level != "example":
            raise ValueError(f"mutual: `{config.task}` is over words; expected a task over examples")
        self.text = task.head(setting.student.pooled["text"])
        self.image = task.head(setting.student.pooled["image"])

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Sum over the branches of means over rows, in nats."""
        task = self.setting.tasks[self.config.task]
        rows = student.has["text"] & student.has["image"] & task.labelled_rows(batch)
        text = self.text(full_precision(student.pooled["text"][rows]))
        image = self.image(full_precision(student.pooled["image"][rows]))
        labels = batch.labels[task.name][rows]
        supervised = task.loss(text, labels) + task.loss(image, labels)
        return supervised + self.config.divergence * mutual(text, image)


def mutual(one: Float[Tensor, "R K"], other: Float[Tensor, "R K"]) -> Float[Tensor, ""]:
    """KL(p_2 || p_1) + KL(p_1 || p_2) in nats, mean over rows; raw logits. No gradient reaches a first argument."""
    log_one, log_other = full_precision(one).log_softmax(-1), full_precision(other).log_softmax(-1)
    to_one = kl_divergence(log_other.detach(), log_one)
    to_other = kl_divergence(log_one.detach(), log_other)
    return mean_or_zero(to_one) + mean_or_zero(to_other)
