"""`ordinal`: ordered classes by proportional odds (McCullagh 1980, J. R. Stat. Soc. B 42, 109-142).

One score f and ordered thresholds t_0 < ... < t_{K-2} give P(y <= k) = sigmoid(t_k - f). The head returns the K
log-probabilities as its logits, so that softmax(logits) are the model's class probabilities and every logit loss
applies unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmkd.config.plugin_base import TaskConfig
from mmkd.tasks import base
from mmkd.tasks._cross_entropy import mean_cross_entropy
from mmkd.tasks._metrics import accuracy, confusion, gather, macro_f1, mean_absolute_error, quadratic_kappa

if TYPE_CHECKING:
    from mmkd.record import Score

SMALLEST_GAP = 1e-3
"""Between neighbouring thresholds, so that no class ever has probability 0 and the log stays finite."""


class Config(TaskConfig):
    """An ordered class for each example; the card lists the labels from lowest to highest."""

    kind: Literal["ordinal"] = "ordinal"
    level: ClassVar[Literal["example", "word"]] = "example"
    ordered: ClassVar[bool] = True


class Task(base.Task):
    """Classes with an order."""

    def __init__(self, config: Config, name: str, labels: Sequence[str]) -> None:
        """Raises ValueError for fewer than two classes."""
        super().__init__(config, name, labels)
        if len(self.labels) < 2:
            raise ValueError(f"{name}: found the classes {list(self.labels)}; expected at least two, in order")

    def head(self, width: int) -> nn.Module:
        """A score and thresholds that start where all classes are equally likely at score 0."""
        return CumulativeLink(width, len(self.labels))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Negative log-likelihood of the class, mean over rows."""
        return mean_cross_entropy(logits, labels)

    def score(self, labels: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> dict[str, Score]:
        """qwk (quadratic weighted kappa), accuracy, mae (in classes) and macro_f1.

        Raises ValueError when there is no example, or a probability is not finite.
        """
        gold, probability = gather(self.name, labels, probabilities, len(self.labels))
        counts = confusion(gold, self.predict(probability), len(self.labels))
        return {
            "qwk": quadratic_kappa(counts),
            "accuracy": accuracy(counts),
            "mae": mean_absolute_error(counts),
            "macro_f1": macro_f1(counts),
        }

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """The median class: the lowest k with P(y <= k) >= 1/2, for the model the number of thresholds below the score.

        It minimises the expected distance in classes, which a most probable class may miss by far; threshold models
        are consistent for that loss (Pedregosa, Bach and Gramfort 2017, JMLR 18(55), 1408.2327).
        """
        return (np.cumsum(probabilities, axis=-1)[..., :-1] < 0.5).sum(-1)


class CumulativeLink(nn.Module):
    """Features [..., width] to K log-probabilities. The score has no bias, since a shift of all thresholds is one."""

    def __init__(self, width: int, classes: int) -> None:
        """classes: K, at least 2."""
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)
        thresholds = torch.special.logit(torch.arange(1, classes) / classes)
        self.first = nn.Parameter(thresholds[:1].clone())
        # softplus keeps the gaps positive, and so the thresholds in order, whatever the optimizer does.
        self.raw_gaps = nn.Parameter(torch.log(torch.expm1(thresholds.diff() - SMALLEST_GAP)))

    @property
    def gaps(self) -> Tensor:
        """Distances [K-2] between neighbouring thresholds."""
        return SMALLEST_GAP + functional.softplus(self.raw_gaps)

    def forward(self, features: Tensor) -> Tensor:
        """Log-probabilities [..., K], in float32 or wider."""
        score = self.score(features)
        return log_probabilities(score.to(torch.promote_types(score.dtype, torch.float32)), self.first, self.gaps)


def log_probabilities(score: Tensor, first: Tensor, gaps: Tensor) -> Tensor:
    """Log-probabilities [..., K] of the classes, in nats; finite for any finite score.

    score: [..., 1]. first: [1], the lowest threshold. gaps: [K-2], above 0, between neighbouring thresholds.
    With a = t_k - f and b = t_{k-1} - f, sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a)), whose
    logarithm needs no difference of nearly equal numbers; a - b is the gap itself.
    """
    thresholds = torch.cat([first, first + gaps.cumsum(0)])
    below = functional.logsigmoid(thresholds - score)
    above = functional.logsigmoid(score - thresholds)
    inner = below[..., 1:] + above[..., :-1] + torch.log(-torch.expm1(-gaps))
    return torch.cat([below[..., :1], inner, above[..., -1:]], dim=-1)
