"""The predictions beside a record, of one task, in the order of the examples' ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mmkd.report.error import ReportError

Form = Literal["class", "labels", "words", "value"]
"""What is predicted of an example: a class, any number of labels, a class of each word, or a value."""
COLUMNS = ("id", "labels", "predictions", "probabilities", "value", "predicted_value")


@dataclass(frozen=True)
class Predictions:
    """Of N examples, sorted by id.

    labels, predicted: of each example one class, those of K labels that hold, one class per word, or one value.
    width: K, the classes or labels; 0 for words and values. names: of the classes; empty where they are not known.
    """

    ids: tuple[str, ...]
    labels: tuple[tuple[float, ...], ...]
    predicted: tuple[tuple[float, ...], ...]
    width: int
    names: tuple[str, ...]


def read_predictions(path: Path, task: str, form: Form, names: tuple[str, ...]) -> Predictions:
    """Those of one task.

    Raises ReportError for a file that holds none of it, or a row that is not of that form, with the row's id.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=list(COLUMNS), filters=[("task", "=", task)])
        rows = table.sort_by("id").to_pylist()
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise ReportError(
            f"{path}: cannot be read as predictions ({reason}); restore the file, or run the experiment again"
        ) from error
    if not rows:
        raise ReportError(f"{path}: found no predictions of `{task}`; restore the file, or run the experiment again")
    width = len(rows[0]["probabilities"] or ())
    for row in rows:
        wrong = _wrong(row, form, width, len(names))
        if wrong:
            raise ReportError(
                f"{path}: `{task}` of {row['id']}: {wrong}; restore the file, or run the experiment again"
            )
    one, other = ("value", "predicted_value") if form == "value" else ("labels", "predictions")
    labels, predicted = (tuple(_numbers(row[name]) for row in rows) for name in (one, other))
    return Predictions(tuple(row["id"] for row in rows), labels, predicted, width, names)


def _numbers(found: float | list[int]) -> tuple[float, ...]:
    return tuple(found) if isinstance(found, list) else (found,)


def _wrong(row: dict[str, Any], form: Form, width: int, names: int) -> str | None:
    """What a row is not, in words. names: how many there are; 0: not known."""
    if form == "value":
        lacking = row["value"] is None or row["predicted_value"] is None
        return "found no value, expected one of the label and one predicted" if lacking else None
    labels, predicted = row["labels"], row["predictions"]
    if labels is None or predicted is None or row["probabilities"] is None:
        return "found no classes, expected those of the label and of the prediction"
    if form == "class" and not len(labels) == len(predicted) == 1:
        return f"found {len(labels)} labels and {len(predicted)} predictions, expected one of each"
    if form == "words" and len(labels) != len(predicted):
        return f"found labels of {len(labels)} words and predictions of {len(predicted)}, expected as many"
    if form != "words" and not len(row["probabilities"]) == width > 0:
        return f"found {len(row['probabilities'])} probabilities, expected {width or 'some'} as in the first row"
    classes = names if form == "words" else width
    strange = [each for each in (*labels, *predicted) if each < 0 or (classes and each >= classes)]
    return f"found class {strange[0]}, expected 0 to {classes - 1}" if strange else None


def first_difference(one: Predictions, other: Predictions) -> str | None:
    """How the examples or labels of two runs differ, in words; None where they are the same."""
    if one.width != other.width:
        return f"{one.width} and {other.width} classes"
    if one.names and other.names and one.names != other.names:
        return f"the classes {_listed(one.names)} and {_listed(other.names)}"
    if len(one.ids) != len(other.ids):
        return f"{len(one.ids)} and {len(other.ids)} examples"
    for id, id_there, label, label_there in zip(one.ids, other.ids, one.labels, other.labels, strict=True):
        if id != id_there:
            return f"the example {id} where the other has {id_there}"
        if label != label_there:
            return f"of example {id} the labels {_listed(label)} and {_listed(label_there)}"
    return None


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "none"
