"""From a card's labels to those of an experiment's task: another order, other names, labels left out. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmkd.data.base import Label

Form = Literal["class", "words", "set", "value"]
FORMS: dict[str, Form] = {
    "classify": "class",
    "ordinal": "class",
    "tag": "words",
    "multilabel": "set",
    "regress": "value",
}
"""The form of a row's label by the card's kind of task."""

MISSING = -1
"""Label of a row, or of a word, that has none; also of a class that a map leaves out."""


@dataclass(frozen=True)
class LabelForm:
    """What labels of a task are in a batch. size: number of labels of the task.

    class: int64 [B]. words: int64 [B, W]. set: float32 [B, size] of 0 and 1. value: float32 [B].
    """

    form: Form
    size: int


@dataclass(frozen=True)
class LabelUse:
    """How a data set labels one task of an experiment.

    theirs: the card's task. to: for each of the card's labels its number in the task, MISSING where it is left out.
    """

    theirs: str
    form: LabelForm
    to: tuple[int, ...]

    def label(self, label: Label | None) -> Label | None:
        """A row's label as the task has it; None where there is none, or where it is left out."""
        if label is None or self.form.form == "value":
            return label
        if isinstance(label, tuple):
            return tuple(self.to[each] for each in label)
        if isinstance(label, frozenset):
            return frozenset(self.to[each] for each in label) - {MISSING}
        number = self.to[int(label)]
        return None if number == MISSING else number

    def stored(self, labels: list[Label | None], words: list[int]) -> np.ndarray:
        """Labels of all rows in one array: [n], [words in all] or [n, size]; MISSING or 0 where a row has none.

        words: number of words of each row.
        """
        if self.form.form == "words":
            pairs = zip(labels, words, strict=True)
            spans = [label if isinstance(label, tuple) else (MISSING,) * count for label, count in pairs]
            return np.array([each for span in spans for each in span], np.int32)
        if self.form.form == "set":
            found = np.zeros((len(labels), self.form.size), np.uint8)
            for row, label in enumerate(labels):
                if isinstance(label, frozenset):
                    found[row, sorted(label)] = 1
            return found
        if self.form.form == "value":
            return np.array([0.0 if label is None else label for label in labels], np.float32)
        return np.array([MISSING if label is None else label for label in labels], np.int32)


def same_labels(theirs: str, kind: str, size: int) -> LabelUse:
    """A use that changes nothing. kind: of the card's task."""
    return LabelUse(theirs, LabelForm(FORMS[kind], size), tuple(range(size)))
