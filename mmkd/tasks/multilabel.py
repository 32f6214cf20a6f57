"""`multilabel`: any number of K labels for each example, by a linear head and one binary cross-entropy per label.

The first metric is micro F1, by which SemEval-2021 task 6 ranks propaganda techniques in memes (Dimitrov et al. 2021,
2105.09284). F1 and average precision agree with scikit-learn's where that defines them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.plugin_base import LogitsForm, TaskConfig
from mmkd.record import Score
from mmkd.tasks import base
from mmkd.tasks._metrics import gather


class Config(TaskConfig):
    """Labels that hold or not, each on its own, for each example.

    threshold: a label is predicted where its probability is above it.
    """

    level: ClassVar[Literal["example", "word"]] = "example"
    logits: ClassVar[LogitsForm] = "labels"

    kind: Literal["multilabel"] = "multilabel"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Task(base.Task):
    """Labels that may hold together, or none of them."""

    config: Config

    def __init__(self, config: Config, name: str, labels: Sequence[str]) -> None:
        """Raises ValueError without any label."""
        super().__init__(config, name, labels)
        if not self.labels:
            raise ValueError(f"{name}: found no labels; expected at least one that holds or not")

    def head(self, width: int) -> nn.Module:
        """A linear layer."""
        return nn.Linear(width, len(self.labels))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Binary cross-entropy in nats, mean over rows and labels; logits [R, K], labels [R, K] of 0 and 1.

        Half-precision logits are raised to float32 first.
        """
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        total = functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="sum")
        return total / max(logits.numel(), 1)

    def score(self, labels: Sequence[np.ndarray], estimates: Sequence[np.ndarray]) -> dict[str, Score]:
        """micro_f1, macro_f1 and map (mean average precision), over labels [N, K] and probabilities [N, K].

        macro_f1 is over the labels that occur among the labels or the predictions, map over those that hold for some
        example; there is no map where none does. F1 of nothing to nothing is 0. n counts examples.
        Raises ValueError when there is no example, shapes do not fit, or a probability is not finite.
        """
        width = len(self.labels)
        gold, probability = gather(self.name, labels, estimates, width, (width,))
        holds = gold > 0.5
        scores = f1_scores(holds, self.predict(probability) > 0)
        precision = mean_average_precision(holds, probability)
        return scores if precision is None else {**scores, "map": precision}

    def predict(self, estimates: np.ndarray) -> np.ndarray:
        """1 for each label whose probability is above the threshold, 0 for the others: [..., K]."""
        return (estimates > self.config.threshold).astype(np.int64)


def f1_scores(holds: np.ndarray, predicted: np.ndarray) -> dict[str, Score]:
    """micro_f1 and macro_f1; holds, predicted: bool [N, K]."""
    right = (holds & predicted).sum(0)
    occurrences = holds.sum(0) + predicted.sum(0)
    occurs = occurrences > 0
    micro = 2 * right.sum() / max(occurrences.sum(), 1)
    macro = (2 * right[occurs] / occurrences[occurs]).mean() if occurs.any() else 0.0
    return {
        "micro_f1": Score(value=float(micro), n=len(holds)),
        "macro_f1": Score(value=float(macro), n=len(holds)),
    }


def mean_average_precision(holds: np.ndarray, probabilities: np.ndarray) -> Score | None:
    """Mean over the labels that hold for some example of `average_precision`; None when there is no such label.

    holds: bool [N, K]. probabilities: [N, K].
    """
    columns = np.flatnonzero(holds.any(0))
    if not len(columns):
        return None
    values = [average_precision(holds[:, column], probabilities[:, column]) for column in columns]
    return Score(value=float(np.mean(values)), n=len(holds))


def average_precision(holds: np.ndarray, scores: np.ndarray) -> float:
    """Mean over the positives of the precision among all rows that score at least as high as the positive.

    holds: bool [N], at least one true. scores: [N]. Rows of equal score come together, in no order of their own.
    """
    _, place = np.unique(-scores, return_inverse=True)
    found = np.bincount(place, weights=holds)
    precision = np.cumsum(found) / np.cumsum(np.bincount(place))
    return float((precision * found).sum() / found.sum())
