"""What a task is: the head that predicts it, the rows that have a label, its supervised loss and its metrics."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from mmkd.types import Batch

if TYPE_CHECKING:
    from mmkd.config.plugin_base import TaskConfig
    from mmkd.record import Score


class Task(abc.ABC):
    """A task over examples or words. A plug-in: `kind` under `tasks:` is a file with a `Config` and a class `Task`.

    `config.level` says whether logits are [B, K] or [B, W, K]; K = `len(labels)`, in the order of `labels`, and 1 for
    a value. `config.logits` says how they are to be read.
    """

    def __init__(self, config: TaskConfig, name: str, labels: Sequence[str]) -> None:
        """labels: names of the classes or labels, in the order of the logits; none for a value.

        Raises ValueError when the labels do not suit the task.
        """
        self.config, self.name, self.labels = config, name, tuple(labels)

    @property
    def level(self) -> str:
        """`example` or `word`."""
        return self.config.level

    @abc.abstractmethod
    def head(self, width: int) -> nn.Module:
        """A new module from features [..., width] to logits [..., K]."""

    @abc.abstractmethod
    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Supervised loss, mean over rows: in nats, for a value in its unit squared. R = 0 gives 0, zero gradient.

        logits: [R, K]. labels: [R], or [R, K] of 0 and 1 where each of K labels holds or not.
        """

    def estimate(self, logits: Tensor) -> Tensor:
        """What is predicted from, [..., K], as `config.logits` says: probabilities, or the value."""
        match self.config.logits:
            case "classes":
                return logits.softmax(-1)
            case "labels":
                return logits.sigmoid()
            case "value":
                return logits

    @abc.abstractmethod
    def score(self, labels: Sequence[np.ndarray], estimates: Sequence[np.ndarray]) -> dict[str, Score]:
        """Metrics of a split, the task's own first: the one that selects epochs and stands in tables.

        One array per labelled example: its labels as in a batch, [], [K] or [W], and what `estimate` made of its
        logits, [K], or [W, K] for a word-level task. A word that the student's tokenizer cut has NaN estimates and
        counts as predicted O.
        """

    @abc.abstractmethod
    def predict(self, estimates: np.ndarray) -> np.ndarray:
        """For estimates [..., K] what labels look like: class indices [...], 0 and 1 [..., K], or values [...]."""

    def labelled_rows(self, batch: Batch) -> Tensor:
        """Rows that have a label: [B] or [B, W]."""
        has_label = batch.has_label[self.name]
        return has_label if self.level == "example" else has_label[:, None] & batch.word_mask
