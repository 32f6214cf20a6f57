"""`graph_distil`: modalities of the student, and teachers, teach each other along edges whose strengths are learned.

Li, Wang and Cui, CVPR 2023, 2303.13802, "Decoupled multimodal distilling for emotion recognition", graph distillation
unit: each modality is a vertex, with its feature X and the logits f(X) of a head of its own. The edge from i to j has
the distance e = |f(X_i) - f(X_j)| and the strength w, which a small network computes from the logits and features of
both, with a softmax over all edges; the loss is the sum over edges of w e. Here e is the mean over logits, and the term
is the mean over rows of the sum over edges, plus the two heads' own loss of the labels.

Vertices here are the student's text and image, with linear heads on the pooled features, and each of `teachers` with
its logits, from which edges only lead away. A vertex takes another as it is, and the strengths read all as they are: no
gradient goes to where an edge comes from, nor through what the strengths read. Left to itself a learned strength goes
to the edge with the least distance. So, as in the authors' code, from memory, the squared difference of each edge's
mean strength over the batch from a prior is added, with the factor 10; the prior is here the same for every edge, where
that code has one for each pair of modalities. Of logits over classes what counts is their differences, so they are
taken less their mean. Not taken: the paper's decoupling of each modality into two features, with a graph for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmkd.config.plugin_base import StudentNeeds, TaskLossConfig, TeacherNeeds
from mmkd.config.section import Names, NonNegativeFloat, PositiveInt
from mmkd.losses import base
from mmkd.losses._math import full_precision, mean_or_zero
from mmkd.types import Batch, Outputs, rows_of


class Config(TaskLossConfig):
    """Let text and image each predict a task over examples, and learn it from labels, each other and teachers.

    teachers: their names in the experiment; none is needed. distillation: coefficient of the edges, beside the losses
        of the labels. prior: coefficient of the distance of the mean strengths from equal ones.
    width: of what the strengths know of each vertex.
    """

    trains_head: ClassVar[bool] = False

    kind: Literal["graph_distil"] = "graph_distil"
    teachers: Names = ()
    distillation: NonNegativeFloat = 1.0
    prior: NonNegativeFloat = 10.0
    width: PositiveInt = 32

    @property
    def needs_labels(self) -> bool:
        """Without labels the heads could agree on nothing."""
        return True

    def teacher_needs(self) -> tuple[TeacherNeeds, ...]:
        """The teachers' logits for the task."""
        return tuple(TeacherNeeds(teacher, tasks=(self.task,)) for teacher in self.teachers)

    def student_needs(self) -> StudentNeeds:
        """Both modalities."""
        return StudentNeeds(modalities=("text", "image"))


class Loss(base.Loss):
    """Rows: labelled, the student reads text and image there, and the teachers speak."""

    config: Config

    def __init__(self, config: Config, setting: base.Setting) -> None:
        """Build heads and strengths. Raises ValueError for a task over words, which an image says nothing of."""
        super().__init__(config, setting)
        task = setting.tasks[config.task]
        if task.level != "example":
            raise ValueError(f"graph_distil: `{config.task}` is over words; expected a task over examples")
        text, image = setting.student.pooled["text"], setting.student.pooled["image"]
        self.text, self.image = task.head(text), task.head(image)
        logits = max(len(task.labels), 1)
        known = [logits + text, logits + image, *(logits for _ in config.teachers)]
        self.vertices = nn.ModuleList(nn.Linear(numbers, config.width) for numbers in known)
        self.strength = nn.Linear(2 * config.width, 1)
        self.edges = [(i, j) for j in range(2) for i in range(len(known)) if i != j]

    def forward(self, student: Outputs, teachers: Mapping[str, Outputs], batch: Batch) -> Tensor:
        """Losses of the labels and distances along the edges, mean over rows; and the distance from the prior."""
        own, task = self.config, self.setting.tasks[self.config.task]
        others = [teachers[name] for name in own.teachers]
        rows = rows_of(task.level, batch, student, *others) & task.labelled_rows(batch)
        rows = rows & student.has["text"] & student.has["image"]
        features = [full_precision(student.pooled[modality][rows]) for modality in ("text", "image")]
        heads = [head(feature) for head, feature in zip((self.text, self.image), features, strict=True)]
        labels = batch.labels[task.name][rows]
        supervised = task.loss(heads[0], labels) + task.loss(heads[1], labels)
        logits = [*heads, *(full_precision(other.logits[task.name][rows]) for other in others)]
        if task.config.logits == "classes":
            logits = [each - each.mean(-1, keepdim=True) for each in logits]
        known = [torch.cat(each, dim=-1) for each in zip(logits, features, strict=False)] + logits[2:]
        seen = [vertex(each.detach()) for vertex, each in zip(self.vertices, known, strict=True)]
        strengths = torch.cat([self.strength(torch.cat([seen[i], seen[j]], dim=-1)) for i, j in self.edges], dim=-1)
        strengths = strengths.softmax(-1)
        distances = torch.stack([(logits[i].detach() - logits[j]).abs().mean(-1) for i, j in self.edges], dim=-1)
        return supervised + own.distillation * (graph_distil(distances, strengths) + own.prior * unevenness(strengths))


def graph_distil(distances: Float[Tensor, "R E"], strengths: Float[Tensor, "R E"]) -> Float[Tensor, ""]:
    """Sum over edges of strength times distance, mean over rows."""
    return mean_or_zero((strengths * distances).sum(-1))


def unevenness(strengths: Float[Tensor, "R E"]) -> Float[Tensor, ""]:
    """Squared difference of each edge's mean strength from that of equal ones, summed over edges; 0 without a row."""
    deviations = (strengths - 1 / strengths.shape[-1]).sum(0) / max(len(strengths), 1)
    return deviations.square().sum()
