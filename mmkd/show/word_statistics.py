"""The words of a data set: how many there are, which of them train lacks, and which are typical of a label."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmkd.data.base import Example
from mmkd.data.card import CardTask
from mmkd.show.label_names import classes, held

MOST = 8
"""Typical words that are given for each label."""

EDGES = "!\"%&'()*+,-./:;<=>?[\\]^_`{|}~…“”‘’«»–—،؛؟。、"
"""Punctuation that does not count at the edges of a word; `#`, `@`, `$` and emoji count."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """words: all that are counted; types: different ones. new_words, new_types: the shares of them that train lacks.

    None where there is nothing to compare: train itself, a set without train, a split without words.
    """

    words: int
    types: int
    new_words: float | None
    new_types: float | None


@dataclass(frozen=True, slots=True)
class TypicalWord:
    """rows: that have the label and the word; others: that have the word, and the task's label, but not this one.

    z: the log odds ratio of the two, in its standard errors.
    """

    word: str
    z: float
    rows: int
    others: int


def terms(example: Example) -> list[str]:
    """The row's words in lower case, without punctuation at their edges; words of punctuation alone are left out."""
    return [term for word in example.words if (term := word.lower().strip(EDGES))]


def vocabularies(examples: Mapping[str, Sequence[Example]]) -> dict[str, Vocabulary]:
    """By split. Words are counted as `terms`."""
    counted = {split: Counter(term for row in rows for term in terms(row)) for split, rows in examples.items()}
    found: dict[str, Vocabulary] = {}
    for split, counts in counted.items():
        new_words = new_types = None
        if split != "train" and counted.get("train") and counts:
            new = {term: count for term, count in counts.items() if term not in counted["train"]}
            new_words, new_types = sum(new.values()) / counts.total(), len(new) / len(counts)
        found[split] = Vocabulary(counts.total(), len(counts), new_words, new_types)
    return found


def typical_words(task: CardTask, name: str, rows: Sequence[Example]) -> dict[str, list[TypicalWord]]:
    """Label -> the words with the largest z above 0, largest first. Only rows with text and a label of the task count.

    A row has a word once, however often it stands there.
    """
    labelled = [(set(terms(row)), held(task, row.labels[name])) for row in rows if name in row.labels and row.words]
    of_all = Counter(term for those, _ in labelled for term in those)
    found: dict[str, list[TypicalWord]] = {}
    for label in classes(task):
        own = [those for those, labels in labelled if label in labels]
        inside = Counter(term for those in own for term in those)
        scored = []
        for term, count in inside.items():
            outside = of_all[term] - count
            z = log_odds(count, len(own), outside, len(labelled) - len(own))
            scored.append(TypicalWord(term, z, count, outside))
        found[label] = sorted((word for word in scored if word.z > 0), key=lambda word: (-word.z, word.word))[:MOST]
    return found


def log_odds(inside: int, own: int, outside: int, others: int) -> float:
    """The logarithm of the odds ratio over its standard error, for a word that `inside` of `own` rows have.

    outside: of `others`, which have it too. 0.5 is added to each of the four counts, rows with and without the word
    (Haldane 1956; Anscombe 1956); the error is the root of the sum of the counts' inverses (Woolf 1955).
    """
    counts = (inside + 0.5, own - inside + 0.5, outside + 0.5, others - outside + 0.5)
    ratio = counts[0] * counts[3] / (counts[1] * counts[2])
    return math.log(ratio) / math.sqrt(sum(1 / count for count in counts))
