"""Which rows stand on a contact sheet: chosen by chance, so that splits, labels and kinds of rows are all there."""

from __future__ import annotations

import random
import statistics
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence

from mmkd.data.base import SPLITS, Example, Label
from mmkd.data.card import Card, CardTask
from mmkd.show.label_names import held

Traits = tuple[tuple[str, frozenset[str]], ...]
"""What a row shows: the name of a task (alone and with the split), `split` or `modalities`, with the row's values."""


def choose(card: Card, examples: Mapping[str, Sequence[Example]], rows: int, seed: int) -> list[tuple[str, Example]]:
    """So many rows with their splits, or all when there are fewer, ordered by labels, then by split.

    Row after row, the one is taken whose split and labels were shown least so far; of several such rows, chance
    decides. So a rare label has as many rows as a frequent one, and rows without text or image are
    preferred until there is one.
    """
    pool = [(split, example) for split, rows_of in examples.items() for example in rows_of]
    random.Random(seed).shuffle(pool)
    values = {task: _values(card.tasks[task], pool, task) for task in card.tasks}
    alike: dict[Traits, list[tuple[str, Example]]] = defaultdict(list)
    for split, example in pool:
        alike[_traits(card, split, example, values)].append((split, example))
    shown: Counter[tuple[str, str]] = Counter()
    chosen: list[tuple[str, Example]] = []
    for _ in range(min(rows, len(pool))):
        best = max((traits for traits, left in alike.items() if left), key=lambda traits: _news(traits, shown))
        chosen.append(alike[best].pop())
        shown.update((name, value) for name, those in best for value in those)
    return sorted(chosen, key=lambda each: _order(card, *each))


def _news(traits: Traits, shown: Counter[tuple[str, str]]) -> float:
    """How much a row adds: for each trait, the mean of 1 / (1 + times that a value was shown)."""
    total = 0.0
    for name, values in traits:
        if name == "modalities":  # one row without an image is enough to see
            total += sum(not shown[name, value] for value in values)
        else:
            total += sum(1 / (1 + shown[name, value]) for value in values) / len(values)
    return total


def _traits(card: Card, split: str, example: Example, values: Mapping[str, Callable[[Label], set[str]]]) -> Traits:
    modalities = "+".join(["text"] * bool(example.words) + ["image"] * (example.image is not None))
    labelled = [(task, frozenset(values[task](example.labels[task]))) for task in card.tasks if task in example.labels]
    # Without the pairs, each label could come from a split of its own.
    pairs = [(f"{task} in {split}", those) for task, those in labelled]
    return (("split", frozenset({split})), ("modalities", frozenset({modalities})), *labelled, *pairs)


def _values(task: CardTask, pool: Sequence[tuple[str, Example]], name: str) -> Callable[[Label], set[str]]:
    """Reads a label as the values that a sheet should show: label names, entity types, quarters of the range."""
    if task.kind != "regress":
        return lambda label: set(held(task, label)) or {"none"}
    numbers = [float(label) for _, example in pool if isinstance(label := example.labels.get(name), int | float)]
    quarters = statistics.quantiles(numbers, n=4) if len(numbers) > 1 else []
    return lambda label: {str(bisect_right(quarters, label)) if isinstance(label, int | float) else "no number"}


def _order(card: Card, split: str, example: Example) -> tuple[object, ...]:
    labels = [example.labels.get(name) for name, task in card.tasks.items() if task.kind != "tag"]
    keys = [(label is None, *(sorted(label) if isinstance(label, frozenset) else [label])) for label in labels]
    return (*keys, SPLITS.index(split))
