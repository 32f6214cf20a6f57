"""Adds up what the batches of an epoch say, for the epoch's entry in the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmkd.objective import Objective
from mmkd.types import Batch


class Sums:
    """Adds up an epoch's term values and weights, for their means."""

    def __init__(self) -> None:
        """Start at nothing."""
        self._sums: dict[str, dict[str, float]] = {"terms": {}, "weights": {}}
        self._counts: dict[str, dict[str, int]] = {"terms": {}, "weights": {}}
        self._seen: dict[str, dict[str, int]] = {"rows": {}, "labelled": {}}

    def add(self, objective: Objective, weights: Mapping[str, float]) -> None:
        """Add a batch."""
        for sort, values in (("terms", objective.values), ("weights", weights)):
            for name, value in values.items():
                self._sums[sort][name] = self._sums[sort].get(name, 0.0) + value
                self._counts[sort][name] = self._counts[sort].get(name, 0) + 1

    def count(self, rows: Mapping[str, int], batch: Batch) -> None:
        """Add the rows of a batch by data set, and by task those that have its label."""
        labelled = {task: int(has.sum()) for task, has in batch.has_label.items()}
        for sort, values in (("rows", rows), ("labelled", labelled)):
            for name, number in values.items():
                self._seen[sort][name] = self._seen[sort].get(name, 0) + number

    def plain(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return {"sums": self._sums, "counts": self._counts, "seen": self._seen}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> Sums:
        """As `plain` gave it."""
        found = cls()
        found._sums, found._counts, found._seen = plain["sums"], plain["counts"], plain["seen"]
        return found

    def seen(self) -> dict[str, dict[str, int]]:
        """Rows that were read: `rows` by data set, `labelled` by task."""
        return self._seen

    @classmethod
    def together(cls, parts: Sequence[Sums]) -> Sums:
        """What several processes have added up."""
        found = cls()
        for part in parts:
            for kept in ("_sums", "_counts", "_seen"):
                for sort, numbers in getattr(part, kept).items():
                    total = getattr(found, kept)[sort]
                    total |= {name: total.get(name, 0) + number for name, number in numbers.items()}
        return found

    def means(self) -> dict[str, dict[str, float]]:
        """Mean over the batches in which a name occurred: `terms` by term, `weights` by task."""
        return {
            sort: {name: total / self._counts[sort][name] for name, total in values.items()}
            for sort, values in self._sums.items()
        }
