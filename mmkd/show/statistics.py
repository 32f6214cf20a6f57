"""What a data set is like, in numbers: rows, labels, words and images, by split. No torch here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from mmkd.data.base import Example
from mmkd.data.card import Card, CardTask
from mmkd.show.image_statistics import ImageStatistics, measure_images
from mmkd.show.label_names import classes, held
from mmkd.show.spread import Histogram, Spread, histogram_of_counts, histogram_of_values, spread
from mmkd.show.word_statistics import TypicalWord, Vocabulary, typical_words, vocabularies


@dataclass(frozen=True, slots=True)
class TaskStatistics:
    """Of one task, by split.

    labelled: rows that have a label. counts: label -> rows; of a `tag` task, type -> entities.
    shares: of the labelled rows (of a `multilabel` task they need not sum to 1), or of the split's entities.
    values, histogram: of a `regress` task, which has no counts and shares.
    """

    kind: str
    labelled: dict[str, int]
    counts: dict[str, dict[str, int]]
    shares: dict[str, dict[str, float]]
    values: dict[str, Spread]
    histogram: Histogram | None


@dataclass(frozen=True, slots=True)
class LabelPair:
    """How the labels of two tasks go together. counts: [label of first][label of second], rows of all splits."""

    first: str
    second: str
    counts: list[list[int]]


@dataclass(frozen=True, slots=True)
class Statistics:
    """Of one data set, by split.

    modalities: `both`, `text` (alone) or `image` (alone) -> rows. words: a row, where it has any.
    typical: task -> label -> words, of train. findings: reason -> rows; None: no check was made.
    """

    rows: dict[str, int]
    modalities: dict[str, dict[str, int]]
    tasks: dict[str, TaskStatistics]
    pairs: list[LabelPair]
    words: dict[str, Spread]
    word_histogram: Histogram | None
    vocabulary: dict[str, Vocabulary]
    typical: dict[str, dict[str, list[TypicalWord]]]
    images: dict[str, ImageStatistics]
    findings: dict[str, dict[str, int]] | None

    def plain(self) -> dict[str, Any]:
        """The same as nested dicts and lists, for JSON."""
        return asdict(self)


def measure(
    card: Card,
    examples: Mapping[str, Sequence[Example]],
    findings: Mapping[str, Mapping[str, int]] | None = None,
    images: int = 1000,
) -> Statistics:
    """Measure a data set. examples: by split. findings: split -> reason -> rows; None: no check was made.

    images: so many of a split are looked at, at most.
    """
    lengths = {split: [len(row.words) for row in rows if row.words] for split, rows in examples.items()}
    named = [(name, task) for name, task in card.tasks.items() if task.kind not in ("tag", "regress")]
    seen = {split: measure_images(rows, images) for split, rows in examples.items()}
    return Statistics(
        rows={split: len(rows) for split, rows in examples.items()},
        modalities={split: _modalities(rows) for split, rows in examples.items()},
        tasks={name: _task(task, name, examples) for name, task in card.tasks.items()},
        pairs=_pairs(card, examples),
        words={split: spread(those) for split, those in lengths.items() if those},
        word_histogram=histogram_of_counts(lengths),
        vocabulary=vocabularies(examples),
        typical={name: typical_words(task, name, examples.get("train", ())) for name, task in named},
        images={split: those for split, those in seen.items() if those is not None},
        findings=None if findings is None else {split: dict(counts) for split, counts in findings.items()},
    )


def _modalities(rows: Sequence[Example]) -> dict[str, int]:
    counts = Counter("image" if not row.words else "text" if row.image is None else "both" for row in rows)
    return {name: counts[name] for name in ("both", "text", "image")}


def _task(task: CardTask, name: str, examples: Mapping[str, Sequence[Example]]) -> TaskStatistics:
    labels = {split: [row.labels[name] for row in rows if name in row.labels] for split, rows in examples.items()}
    labelled = {split: len(those) for split, those in labels.items()}
    if task.kind == "regress":
        numbers = {
            split: [float(each) for each in each_of if isinstance(each, int | float)]
            for split, each_of in labels.items()
        }
        values = {split: spread(those) for split, those in numbers.items() if those}
        return TaskStatistics(task.kind, labelled, {}, {}, values, histogram_of_values(numbers))
    counts, shares = {}, {}
    for split, those in labels.items():
        found = Counter(each for label in those for each in held(task, label))
        whole = found.total() if task.kind == "tag" else len(those)
        counts[split] = {label: found[label] for label in classes(task)}
        shares[split] = {label: found[label] / whole if whole else 0.0 for label in classes(task)}
    return TaskStatistics(task.kind, labelled, counts, shares, {}, None)


def _pairs(card: Card, examples: Mapping[str, Sequence[Example]]) -> list[LabelPair]:
    single = [name for name, task in card.tasks.items() if task.kind in ("classify", "ordinal")]
    found = []
    for first, second in combinations(single, 2):
        together = Counter(
            (row.labels[first], row.labels[second])
            for rows in examples.values()
            for row in rows
            if first in row.labels and second in row.labels
        )
        sizes = len(card.tasks[first].labels), len(card.tasks[second].labels)
        found.append(LabelPair(first, second, [[together[a, b] for b in range(sizes[1])] for a in range(sizes[0])]))
    return found
