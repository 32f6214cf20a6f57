"""How the labels of several data sets become those of one task: `data.X.labels` maps them, label by label.

Labels of a `tag` task are mapped by entity type (`PER: person`, or `PER: O` for what is no entity here); the others by
name. A name that stands in no map stays; null leaves rows of that label unlabelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

OUTSIDE = "O"


def renamed(labels: Sequence[str], kind: str, names: Mapping[str, str | None]) -> tuple[str | None, ...]:
    """Each of a card's labels as the experiment calls it, None for one that is left out. kind: of the card's task."""
    if kind != "tag":
        return tuple(names.get(label, label) for label in labels)
    found: list[str | None] = []
    for label in labels:
        place, _, entity = label.partition("-")
        name = names.get(entity, entity) if entity else None
        found.append(label if not entity else OUTSIDE if name == OUTSIDE else f"{place}-{name}")
    return tuple(found)


def names_to_map(labels: Sequence[str], kind: str) -> list[str]:
    """What a map may name of a card's labels: entity types of a `tag` task, otherwise the labels."""
    if kind != "tag":
        return list(labels)
    return list(dict.fromkeys(label.partition("-")[2] for label in labels if label != OUTSIDE))


def label_order(stated: Sequence[str] | None, sets: Sequence[Sequence[str | None]]) -> tuple[str, ...]:
    """The labels of a task in the order of its logits: as the task states them, else as the first set has them.

    sets: of each data set that labels the task, its labels as the experiment calls them.
    """
    if stated is not None:
        return tuple(stated)
    return tuple(dict.fromkeys(label for label in sets[0] if label is not None)) if sets else ()
