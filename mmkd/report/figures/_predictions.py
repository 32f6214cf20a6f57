"""The predictions beside a record, of one task over classes: of each example, or of each word."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np

from mmkd.report.error import ReportError
from mmkd.report.records import StoredRecord


@dataclass(frozen=True)
class Predictions:
    """labels, predicted [N]: classes. probabilities [N, K]: of the classes; None for a task over words."""

    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None


def read_predictions(stored: StoredRecord, task: str) -> Predictions | None:
    """Those of one task; None where the file has none of it.

    Raises ReportError for a task that does not name one class of each example or word.
    """
    import pyarrow.parquet as pq

    columns = ["task", "labels", "predictions", "probabilities"]
    rows = pq.read_table(stored.predictions_path, columns=columns, filters=[("task", "=", task)]).to_pylist()
    if not rows:
        return None
    values = [row for row in rows if row["labels"] is None]
    several = [row for row in rows if row["probabilities"] and not len(row["labels"]) == len(row["predictions"]) == 1]
    if values or several:
        what = "values" if values else "any number of labels for an example"
        raise ReportError(f"{stored.predictions_path}: `{task}` predicts {what}; expected a task over classes")
    labels = np.array(list(chain.from_iterable(row["labels"] for row in rows)), dtype=np.int64)
    predicted = np.array(list(chain.from_iterable(row["predictions"] for row in rows)), dtype=np.int64)
    if all(row["probabilities"] for row in rows):
        return Predictions(labels, predicted, np.array([row["probabilities"] for row in rows], dtype=np.float32))
    return Predictions(labels, predicted, None)


def without_predictions(stored: StoredRecord) -> bool:
    """Whether the run left no predictions."""
    return stored.record is None or stored.record.predictions is None
