"""`regress`: one real value for each example, by a linear head and the squared error, or Huber's (1964).

The value stays in the unit of the data set: a set whose values lie far from 0 is best scaled where it is read.
Pearson's and Spearman's correlation agree with scipy's where that defines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.plugin_base import LogitsForm, TaskConfig
from mmkd.config.section import PositiveFloat
from mmkd.record import Score
from mmkd.tasks import base
from mmkd.tasks._metrics import average_ranks, gather


class Config(TaskConfig):
    """A value for each example.

    delta: errors beyond it count linearly, in the unit of the value; null: all errors count by their square.
    """

    level: ClassVar[Literal["example", "word"]] = "example"
    logits: ClassVar[LogitsForm] = "value"

    kind: Literal["regress"] = "regress"
    delta: PositiveFloat | None = None


class Task(base.Task):
    """A value."""

    config: Config

    def __init__(self, config: Config, name: str, labels: Sequence[str]) -> None:
        """Raises ValueError when there are labels."""
        super().__init__(config, name, labels)
        if self.labels:
            raise ValueError(f"{name}: found the labels {list(self.labels)}; expected none for a value")

    def head(self, width: int) -> nn.Module:
        """A linear layer to one number."""
        return nn.Linear(width, 1)

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean squared error over rows, in the unit of the value squared; logits [R, 1], labels [R].

        With `delta`, twice Huber's loss: the square up to delta, 2 delta |error| - delta^2 beyond, so that a large
        delta gives the squared error. Half-precision logits are raised to float32 first.
        """
        value = logits[..., 0].to(torch.promote_types(logits.dtype, torch.float32))
        labels = labels.to(value.dtype)
        if self.config.delta is None:
            total = (value - labels).square().sum()
        else:
            total = 2 * functional.huber_loss(value, labels, reduction="sum", delta=self.config.delta)
        return total / max(len(labels), 1)

    def score(self, labels: Sequence[np.ndarray], estimates: Sequence[np.ndarray]) -> dict[str, Score]:
        """pearson and spearman correlation, and mae (mean absolute error, in the unit of the value).

        Raises ValueError when there is no example, shapes do not fit, or a value is not finite.
        """
        gold, estimated = gather(self.name, labels, estimates, 1)
        gold, value = gold.astype(np.float64), estimated[:, 0]
        return {
            "pearson": Score(value=correlation(gold, value), n=len(gold)),
            "spearman": Score(value=correlation(average_ranks(gold), average_ranks(value)), n=len(gold)),
            "mae": Score(value=float(np.abs(gold - value).mean()), n=len(gold), direction="minimize"),
        }

    def predict(self, estimates: np.ndarray) -> np.ndarray:
        """The value itself: [..., 1] to [...]."""
        return estimates[..., 0]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's correlation of values [N] and [N], in -1..1.

    Where a side is constant it is 0/0: we define 0, since a constant tells nothing about the other side.
    """
    # Compared, not subtracted: the mean of equal numbers may differ from them by rounding, and the noise correlates.
    if (one == one[0]).all() or (other == other[0]).all():
        return 0.0
    return float(np.clip(_direction(one) @ _direction(other), -1, 1))


def _direction(values: np.ndarray) -> np.ndarray:
    """Deviations from the mean, scaled to length 1; first by the largest, so that no square underflows."""
    deviations = values - values.mean()
    deviations /= np.abs(deviations).max()
    return deviations / np.sqrt((deviations**2).sum())
