"""Labels as people read them: names in place of indices, entities in place of BIO tags."""

from __future__ import annotations

from collections.abc import Sequence

from mmkd.data.base import Label
from mmkd.data.card import CardTask

Entity = tuple[str, int, int]
"""Type, first word, and the word after its last."""


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities in one row's BIO tags, in order, as CoNLL counts them (IOB2; Tjong Kim Sang and De Meulder 2003).

    An I- tag that continues no entity of its type is none.
    """
    found: list[Entity] = []
    for place, tag in enumerate(tags):
        if tag.startswith("B-"):
            found.append((tag[2:], place, place + 1))
        elif tag.startswith("I-") and found and (found[-1][0], found[-1][2]) == (tag[2:], place):
            found[-1] = (tag[2:], found[-1][1], place + 1)
    return found


def classes(task: CardTask) -> list[str]:
    """What a row can hold of a task: its label names, or the entity types of a `tag` task, in the card's order."""
    if task.kind != "tag":
        return list(task.labels)
    return list(dict.fromkeys(label[2:] for label in task.labels if label != "O"))


def held(task: CardTask, label: Label) -> list[str]:
    """What a row holds of `classes`: one label name, several, or one type for each of its entities.

    Nothing for a `regress` task.
    """
    if task.kind == "regress":
        return []
    if isinstance(label, tuple):
        return [kind for kind, _, _ in entities([task.labels[index] for index in label])]
    if isinstance(label, frozenset):
        return [task.labels[index] for index in sorted(label)]
    return [task.labels[int(label)]]
