"""`classify`: one class per example, by a linear head and cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from mmkd.config.plugin_base import TaskConfig
from mmkd.tasks import base
from mmkd.tasks._cross_entropy import mean_cross_entropy
from mmkd.tasks._metrics import accuracy, auroc, calibration_error, confusion, gather, macro_f1

if TYPE_CHECKING:
    from mmkd.record import Score


class Config(TaskConfig):
    """A class for each example."""

    kind: Literal["classify"] = "classify"
    level: ClassVar[Literal["example", "word"]] = "example"


class Task(base.Task):
    """Classes without an order."""

    def __init__(self, config: Config, name: str, labels: Sequence[str]) -> None:
        """Raises ValueError for fewer than two classes."""
        super().__init__(config, name, labels)
        if len(self.labels) < 2:
            raise ValueError(f"{name}: found the classes {list(self.labels)}; expected at least two to tell apart")

    def head(self, width: int) -> nn.Module:
        """A linear layer."""
        return nn.Linear(width, len(self.labels))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, mean over rows."""
        return mean_cross_entropy(logits, labels)

    def score(self, labels: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> dict[str, Score]:
        """macro_f1, accuracy, ece (15 bins) and auroc; no auroc where a class has no label in the split.

        Raises ValueError when there is no example, or a probability is not finite.
        """
        gold, probability = gather(self.name, labels, probabilities, len(self.labels))
        counts = confusion(gold, self.predict(probability), len(self.labels))
        scores = {
            "macro_f1": macro_f1(counts),
            "accuracy": accuracy(counts),
            "ece": calibration_error(gold, probability),
        }
        area = auroc(gold, probability)
        return scores if area is None else {**scores, "auroc": area}

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """The most probable class."""
        return probabilities.argmax(-1)
