"""Several teachers of the experiment that speak with one voice.

`mean` and `weighted`: the mean of what the members say, of their probabilities (arithmetic) or of their logits (the
geometric mean of the probabilities, up to a factor); Hinton et al. 1503.02531 name both. `confidence`: each row weighs
its members by how well they know its label (CA-MKD, 2201.00007),

    w_m = (1 - exp(CE_m) / sum_n exp(CE_n)) / (M - 1),

CE_m the cross-entropy of member m to the label in nats. A row without a label has the members' own weights. In all
cases only the M members that speak on the row count, with weights that sum to 1; one alone has weight 1. Where none
speaks the ensemble does not either, and its logits, which only its own evaluation reads, are those of all. Members
that are drawn at each step, or weighed by what is learned with the student, are losses: `random_kl` and `gated_kl`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import torch
from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmkd.config.plugin_base import LogitsForm, TeacherConfig
from mmkd.config.section import PositiveFloat
from mmkd.data.corpus import Corpus, Readers
from mmkd.tasks.base import Task
from mmkd.teachers.base import Speaker
from mmkd.teachers.base import Teacher as Base
from mmkd.types import Batch, Outputs, OutputShape


class Config(TeacherConfig):
    """members: names of other teachers -> weight. over: what is averaged."""

    network: ClassVar[bool] = False

    kind: Literal["ensemble"] = "ensemble"
    members: Annotated[dict[str, PositiveFloat], Field(min_length=1)]
    combine: Literal["mean", "weighted", "confidence"] = "mean"
    over: Literal["probabilities", "logits"] = "probabilities"

    @model_validator(mode="after")
    def _mean_is_even(self) -> Self:
        if self.combine == "mean" and len(set(self.members.values())) > 1:
            raise ValueError("`mean` weighs all members alike; expected equal weights, or `combine: weighted`")
        return self

    @property
    def over_words(self) -> bool:
        """Where a member does."""
        return True

    @property
    def speaks_for(self) -> tuple[str, ...]:
        """Its members."""
        return tuple(self.members)


class Teacher(Base):
    """Speaks where at least one member does; gives logits alone."""

    config: Config

    def __init__(
        self,
        config: Config,
        name: str,
        tasks: Mapping[str, Task],
        readers: Readers,
        members: Mapping[str, Speaker],
    ) -> None:
        """members: those that the config names, live or from the cache.

        Raises ValueError for a confidence in a task over values, which have no probabilities.
        """
        live = [member.readers for member in members.values() if isinstance(member, Base)]
        every = [readers, *live]
        text = {who: reader for one in every for who, reader in one.text.items()}
        image = {who: reader for one in every for who, reader in one.image.items()}
        super().__init__(config, name, tasks, Readers(text, image))
        values = [task for task, one in tasks.items() if one.config.logits == "value"]
        if config.combine == "confidence" and values:
            raise ValueError(f"teachers.{name}.combine: `confidence` needs probabilities; {values} are values")
        self.members = nn.ModuleDict(members)
        self.shape = OutputShape({}, {}, {})

    def unheard(self, corpus: Corpus) -> list[str]:
        """Rows about which no member can speak."""
        found = [member.unheard(corpus) for member in self.members.values() if isinstance(member, Base)]
        return [row for row in found[0] if all(row in other for other in map(set, found[1:]))] if found else []

    def forward(self, batch: Batch) -> Outputs:
        """The members' logits, joined row by row; for tasks over classes their softmax is the joint probability."""
        said: dict[str, Outputs] = {name: member(batch) for name, member in self.members.items()}
        logits = {task: self._joined(task, said, batch) for task in self.tasks}
        levels = {task.level for task in self.tasks.values()}
        none = torch.zeros_like(batch.word_mask)
        speaks = torch.stack([one.speaks for one in said.values()]).any(0)
        words = torch.stack([one.words for one in said.values()]).any(0) if "word" in levels else none
        return Outputs(logits, speaks, words)

    def _joined(self, name: str, said: Mapping[str, Outputs], batch: Batch) -> Tensor:
        task = self.tasks[name]
        heard = {member: one for member, one in said.items() if name in one.logits}
        logits = torch.stack([one.logits[name].float() for one in heard.values()])
        speaks = torch.stack([one.speaks if task.level == "example" else one.words for one in heard.values()])
        speaks = speaks | ~speaks.any(0)
        own = logits.new_tensor([self.config.members[member] for member in heard])
        weights = own.view(-1, *[1] * (speaks.ndim - 1)) * speaks
        if self.config.combine == "confidence":
            errors = cross_entropies(logits, batch.labels[name].to(logits.device), task.config.logits)
            labelled = task.labelled_rows(batch).to(logits.device)
            weights = torch.where(labelled, confidences(errors, speaks), weights)
        return joined(logits, weights / weights.sum(0), task.config.logits, self.config.over)


def joined(
    logits: Float[Tensor, "M ... K"], weights: Float[Tensor, "M ..."], form: LogitsForm, over: str
) -> Float[Tensor, "... K"]:
    """Logits of the weighted mean over members. weights: sum to 1 on each row; 0 for a member without a part."""
    if over == "logits" or form == "value":
        return (weights[..., None] * logits).sum(0)
    logs = weights.log()[..., None]
    if form == "classes":
        return torch.logsumexp(logs + logits.log_softmax(-1), 0)
    holds = torch.logsumexp(logs + nn.functional.logsigmoid(logits), 0)
    return holds - torch.logsumexp(logs + nn.functional.logsigmoid(-logits), 0)


def cross_entropies(logits: Float[Tensor, "M ... K"], labels: Tensor, form: LogitsForm) -> Float[Tensor, "M ..."]:
    """In nats, of each member to the label; over the labels of a set, their sum. Rows without a label: any number."""
    if form == "labels":
        wanted = labels.expand_as(logits)
        return nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(-1)
    index = labels.clamp(min=0).expand(logits.shape[:-1])[..., None]
    return -logits.log_softmax(-1).gather(-1, index)[..., 0]


def confidences(errors: Float[Tensor, "M ..."], speaks: Bool[Tensor, "M ..."]) -> Float[Tensor, "M ..."]:
    """CA-MKD's weights over the members that speak, at least one on each row; they sum to 1."""
    count = speaks.sum(0)
    share = errors.masked_fill(~speaks, -torch.inf).softmax(0)
    several = speaks * (1 - share) / (count - 1).clamp(min=1)
    return torch.where(count > 1, several, speaks.to(errors.dtype))
