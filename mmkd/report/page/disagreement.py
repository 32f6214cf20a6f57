"""Rows on which two networks differ, from the predictions beside their records: how many, which are shown. No torch.

A network is right with the class, with all labels that hold, or with all entities of the row; of two values the nearer
counts as right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Literal

from mmkd.data.relabel import Form
from mmkd.report.records import StoredRecord
from mmkd.show.label_names import entities

Answer = tuple[int, ...] | float
"""Indices of labels: one, those that hold, or one per word; or a value."""


@dataclass(frozen=True)
class Said:
    """What one network said of a row. probability: of the class; of the least sure label of a set; None for others."""

    answer: Answer
    probability: float | None


@dataclass(frozen=True)
class Row:
    """A row on which two networks differ. right: which of the two. sure: those with more come first.

    sure: the smaller probability of the two; the number of entities that only one of them has; how far values differ.
    """

    id: str
    gold: Answer
    one: Said
    other: Said
    right: Literal["one", "other", "neither"]
    sure: float


@dataclass(frozen=True)
class Disagreement:
    """Two networks on one task. labels: their names; empty when not known, and for a value.

    rows: that both predicted. differing: on which they differ, of which one, or the other, or neither is right.
    chosen: those that are shown.
    """

    task: str
    form: Form
    labels: tuple[str, ...]
    rows: int
    differing: int
    one_right: int
    other_right: int
    chosen: tuple[Row, ...]


def disagreement(
    one: StoredRecord, other: StoredRecord, task: str, form: Form, labels: tuple[str, ...], number: int
) -> Disagreement | None:
    """What differs on one task, `number` rows of it chosen; None where one of them has no prediction of the task.

    Rows whose id stands more than once are left out. The choice is by `sure`, then by id: rows on which one is right,
    and rows on which the other is right, in turn.
    """
    ours, theirs = _predictions(one, task), _predictions(other, task)
    if not ours or not theirs:
        return None
    both = [name for name in ours if name in theirs]
    rows = [row for name in both if (row := _row(name, ours[name], theirs[name], form, labels)) is not None]
    rows.sort(key=lambda row: (-row.sure, row.id))
    by_right = [[row for row in rows if row.right == who] for who in ("one", "other")]
    in_turn = [row for row in chain.from_iterable(zip_longest(*by_right)) if row is not None]
    one_right, other_right = map(len, by_right)
    return Disagreement(task, form, labels, len(both), len(rows), one_right, other_right, tuple(in_turn[:number]))


def same_rows(one: StoredRecord, other: StoredRecord, task: str) -> bool:
    """Whether both predicted the rows of the same ids, with the same labels."""
    kept = ("labels", "value")
    ours, theirs = (
        {name: [row[key] for key in kept] for name, row in _predictions(each, task).items()} for each in (one, other)
    )
    return ours == theirs


def _predictions(stored: StoredRecord, task: str) -> dict[str, Mapping[str, Any]]:
    """Id -> row of the predictions file, of one task; ids that stand twice are left out."""
    import pyarrow.parquet as pq

    found: dict[str, Mapping[str, Any]] = {}
    twice = set()
    for row in pq.read_table(stored.predictions_path, filters=[("task", "=", task)]).to_pylist():
        if row["id"] in found:
            twice.add(row["id"])
        found[row["id"]] = row
    return {name: row for name, row in found.items() if name not in twice}


def _row(name: str, one: Mapping[str, Any], other: Mapping[str, Any], form: Form, labels: Sequence[str]) -> Row | None:
    """The row, where the two differ."""
    if form == "value":
        gold, ours, theirs = (float(each) for each in (one["value"], one["predicted_value"], other["predicted_value"]))
        near, far = abs(ours - gold), abs(theirs - gold)
        said = (Said(ours, None), Said(theirs, None))
        return None if ours == theirs else Row(name, gold, *said, _which(near < far, far < near), abs(ours - theirs))
    label, mine, yours = (tuple(each) for each in (one["labels"], one["predictions"], other["predictions"]))
    found = [marks(each, form, labels) for each in (label, mine, yours)]
    if found[1] == found[2]:
        return None
    said = (Said(mine, _probability(one, form)), Said(yours, _probability(other, form)))
    known = [each.probability for each in said if each.probability is not None]
    sure = min(known) if len(known) == 2 else float(len(found[1] ^ found[2]))
    return Row(name, label, *said, _which(found[1] == found[0], found[2] == found[0]), sure)


def _which(one: bool, other: bool) -> Literal["one", "other", "neither"]:
    return "one" if one else "other" if other else "neither"


def marks(answer: Sequence[int], form: Form, labels: Sequence[str]) -> frozenset[Any]:
    """What must be equal for two answers to be the same: the entities of tags, where their names are known."""
    if form != "words":
        return frozenset(answer)
    return frozenset(entities(tags(answer, labels)) if labels else enumerate(answer))


def tags(answer: Sequence[int], labels: Sequence[str]) -> list[str]:
    """The names of tags; O for a word without a label."""
    return [labels[index] if index >= 0 else "O" for index in answer]


def _probability(row: Mapping[str, Any], form: Form) -> float | None:
    probabilities = row["probabilities"]
    if not probabilities or form == "words":
        return None
    if form == "class":
        return float(probabilities[row["predictions"][0]])
    held = set(row["predictions"])
    return min(float(p) if index in held else 1 - float(p) for index, p in enumerate(probabilities))
