"""From what stands in a column to a row's label, by the card's kind of task. No torch here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, Strict

from mmkd.config.problems import did_you_mean
from mmkd.config.section import Section
from mmkd.data._files import RowProblem, shortened, shown
from mmkd.data.base import DataError, Label

if TYPE_CHECKING:
    from mmkd.data.card import Card, CardTask


NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""What a `regress` label looks like. Python's `float` takes `1_000` and digits of other scripts as well."""


class LabelColumn(Section):
    """Where a task's labels are. They are text, kept as the file has it; truth values are `true` and `false`.

    item: position in the column's list, when the label stands in a list; a list that ends before it has null there.
    values: raw value -> label name; null: the raw values are the label names.
    missing: raw values that mean "not labelled"; null stands for an absent value.
    separator: between the labels of a `multilabel` task that stand in one text, with or without spaces around them;
    a text without labels means that none holds. null: they stand in a list.
    repair: an I- tag of a `tag` task that continues no entity starts one; false: it is an error.
    For a task of the kind `tag` the column is a list with one value for each word.
    """

    column: str
    item: Annotated[int, Field(ge=0)] | None = None
    values: dict[str, str] | None = None
    missing: Annotated[tuple[str | None, ...], Strict(False)] = ()
    separator: Annotated[str, Field(min_length=1)] | None = None
    repair: bool = False


class LabelReader:
    """Reads the labels of one task out of one column."""

    def __init__(self, name: str, task: CardTask, column: LabelColumn) -> None:
        """task: the card's."""
        self.name, self.task, self.column = name, task, column
        self.index = {label: index for index, label in enumerate(task.labels)}
        self.known = self.index if column.values is None else {raw: self.index[to] for raw, to in column.values.items()}

    def read(self, raw: Any, words: Sequence[str]) -> Label | None:
        """The label; None where the row has none.

        Raises RowProblem when the value cannot be a label of the task.
        """
        if self.column.item is not None:
            items = self._items(raw)
            if self.column.item >= len(items) and None not in self.column.missing:
                message = f"found {len(items)} items; expected item {self.column.item}, or null in the card's `missing`"
                raise self._problem("column_type", message)
            raw = items[self.column.item] if self.column.item < len(items) else None
        raw = _spelled(raw)
        if raw is None or isinstance(raw, str):
            if raw in self.column.missing:
                return None
            if raw is None:
                raise self._problem("label_unknown", "found null; expected text, or null in the card's `missing`")
        if self.task.kind == "tag":
            return self._tags(self._items(raw), words)
        if self.task.kind == "multilabel":
            return frozenset(self._one(each) for each in self._several(raw))
        return self._value(raw) if self.task.kind == "regress" else self._one(raw)

    def _tags(self, raw: Sequence[Any], words: Sequence[str]) -> tuple[int, ...]:
        if len(raw) != len(words):
            message = f"found {len(raw)} labels; expected one for each of {len(words)} words"
            raise self._problem("label_count", message)
        tags = [self.task.labels[self._one(each)] for each in raw]
        bio = to_bio(tags)
        for number, (tag, fixed) in enumerate(zip(tags, bio, strict=True)):
            if tag != fixed and not self.column.repair:
                message = f"found the tag {tag!r} at {words[number]!r}, which continues no entity of its type"
                raise self._problem("label_bio", f"{message}; expected {fixed}, or `repair: true` in the card")
        return tuple(self.index[tag] for tag in bio)

    def _several(self, raw: Any) -> Sequence[Any]:
        if self.column.separator is None:
            return self._items(raw)
        if not isinstance(raw, str):
            raise self._problem("column_type", f"found {shown(raw)}; expected labels in a text")
        return [each.strip() for each in raw.split(self.column.separator) if each.strip()]

    def _one(self, raw: Any) -> int:
        raw = _spelled(raw)
        if not isinstance(raw, str):
            raise self._problem("column_type", f"found {shown(raw)}; expected text")
        if raw not in self.known:
            expected = ", ".join(map(repr, self.known))
            message = f"found {shortened(repr(raw))}; expected one of {expected} for the task {self.name}"
            raise self._problem("label_unknown", f"{message}{did_you_mean(raw, self.known)}")
        return self.known[raw]

    def _value(self, raw: Any) -> float:
        if not isinstance(raw, str):
            raise self._problem("column_type", f"found {shown(raw)}; expected a number")
        value = float(raw) if NUMBER.fullmatch(raw.strip()) else math.nan
        if not math.isfinite(value):
            raise self._problem("label_not_a_number", f"found {shortened(repr(raw))}; expected a finite number")
        low, high = self.task.range or (-math.inf, math.inf)
        if not low <= value <= high:
            raise self._problem("label_unknown", f"found {shortened(raw)}; expected a number from {low} to {high}")
        return value

    def _items(self, raw: Any) -> Sequence[Any]:
        if not isinstance(raw, list):
            raise self._problem("column_type", f"found {shown(raw)}; expected a list")
        return raw

    def _problem(self, reason: str, message: str) -> RowProblem:
        return RowProblem(reason, self.column.column, message)


def label_readers(card: Card, columns: Mapping[str, LabelColumn]) -> dict[str, LabelReader]:
    """A reader for each task of the card.

    Raises DataError when the card's tasks and the columns do not fit together.
    """
    if set(columns) != set(card.tasks):
        text = f"found {sorted(columns)}; expected the card's tasks, {sorted(card.tasks)}"
        raise DataError(card.path, None, "mmkd.source.labels", text)
    for name, column in columns.items():
        task, place = card.tasks[name], f"mmkd.source.labels.{name}"
        for key, kind in (("separator", "multilabel"), ("repair", "tag")):
            if getattr(column, key) and task.kind != kind:
                message = f"found it for a task of the kind {task.kind}; expected it for {kind} alone"
                raise DataError(card.path, None, f"{place}.{key}", message)
        if task.kind == "regress" and column.values is not None:
            raise DataError(card.path, None, f"{place}.values", "found values; a `regress` task's labels are numbers")
        unknown = sorted(set((column.values or {}).values()) - set(task.labels))
        if unknown:
            expected = ", ".join(task.labels)
            message = f"found the label names {', '.join(unknown)}; expected some of {expected}"
            raise DataError(card.path, None, f"{place}.values", message)
    return {name: LabelReader(name, card.tasks[name], column) for name, column in columns.items()}


def to_bio(tags: Sequence[str]) -> list[str]:
    """BIO tags of a sentence: an I- tag that does not continue an entity of its type becomes a B- tag."""
    return [
        f"B-{tag[2:]}" if tag.startswith("I-") and before not in (tag, f"B-{tag[2:]}") else tag
        for before, tag in zip(["O", *tags], tags, strict=False)
    ]


def _spelled(raw: Any) -> Any:
    """A truth value as JSON spells it; all else as it is."""
    return str(raw).lower() if isinstance(raw, bool) else raw
