"""`tag`: entities in words, as BIO labels (IOB2), by a linear head and cross-entropy.

Entity F1 is strict, as CoNLL counts it (Tjong Kim Sang and De Meulder 2003, W03-0419): an entity is right when its
type and both ends are. An entity starts at a B; an I that does not continue an entity of its own type is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from mmkd.config.plugin_base import TaskConfig
from mmkd.record import Score
from mmkd.tasks import base
from mmkd.tasks._cross_entropy import mean_cross_entropy
from mmkd.tasks._spans import Span, spans


class Config(TaskConfig):
    """A BIO label for each word."""

    kind: Literal["tag"] = "tag"
    level: ClassVar[Literal["example", "word"]] = "word"


class Task(base.Task):
    """Entities of one or several types."""

    def __init__(self, config: Config, name: str, labels: Sequence[str]) -> None:
        """Raises ValueError when the labels are not O and a B- and I- pair for each type."""
        super().__init__(config, name, labels)
        types = {label[2:] for label in self.labels if label[:2] in ("B-", "I-")}
        expected = {"O"} | {f"{part}-{kind}" for part in "BI" for kind in types}
        if not types or "" in types or sorted(expected) != sorted(self.labels):
            raise ValueError(
                f"{name}: found the labels {list(self.labels)}; expected O, and B-X and I-X for each type X, each once"
            )
        self._outside = self.labels.index("O")

    def head(self, width: int) -> nn.Module:
        """A linear layer, the same for every word."""
        return nn.Linear(width, len(self.labels))

    def loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, mean over words."""
        return mean_cross_entropy(logits, labels)

    def score(self, labels: Sequence[np.ndarray], probabilities: Sequence[np.ndarray]) -> dict[str, Score]:
        """entity_f1, precision, recall over the split's entities, and accuracy over its words.

        n counts gold entities for entity_f1 and recall, predicted entities for precision, words for accuracy. A ratio
        of nothing to nothing is 0.
        Raises ValueError when there is no word, or an example has not as many labels as rows of probabilities.
        """
        tags = [self.predict(rows) for rows in probabilities]
        lengths = [(len(gold), len(tag)) for gold, tag in zip(labels, tags, strict=True)]
        if differ := [place for place, (gold, tag) in enumerate(lengths) if gold != tag]:
            place = differ[0]
            raise ValueError(
                f"{self.name}: example {place} has {lengths[place][0]} labels and {lengths[place][1]} rows of "
                "probabilities; expected one row for each word"
            )
        words = sum(gold for gold, _ in lengths)
        if not words:
            raise ValueError(f"{self.name}: no labelled word to score: does this split have labels of the task?")
        gold = self._all_spans(labels)
        found = self._all_spans(tags)
        right = len(gold & found)
        same = sum(int((gold == tag).sum()) for gold, tag in zip(labels, tags, strict=True))
        return {
            "entity_f1": Score(value=_ratio(2 * right, len(gold) + len(found)), n=len(gold)),
            "precision": Score(value=_ratio(right, len(found)), n=len(found)),
            "recall": Score(value=_ratio(right, len(gold)), n=len(gold)),
            "accuracy": Score(value=same / words, n=words),
        }

    def predict(self, probabilities: np.ndarray) -> np.ndarray:
        """The most probable label of each word; O for a word that the tokenizer cut (NaN probabilities)."""
        cut = np.isnan(probabilities).any(-1)
        return np.where(cut, self._outside, probabilities.argmax(-1))

    def _all_spans(self, sequences: Sequence[np.ndarray]) -> set[tuple[int, Span]]:
        named = ([self.labels[index] for index in sequence] for sequence in sequences)
        return {(place, span) for place, tags in enumerate(named) for span in spans(tags)}


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
