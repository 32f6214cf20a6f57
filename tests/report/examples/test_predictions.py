"""A file of predictions that is not what its task leaves is refused, with the example's id."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkd.evaluate import write_predictions
from mmkd.report.error import ReportError
from mmkd.report.examples.predictions import Form, Predictions, first_difference, read_predictions

GOOD = {"labels": [1], "predictions": [0], "probabilities": [0.6, 0.4], "value": None, "predicted_value": None}
WORDS = GOOD | {"probabilities": []}
VALUE = dict.fromkeys(GOOD) | {"value": 1.0, "predicted_value": 2.0}


def written(folder: Path, *rows: dict[str, Any]) -> Path:
    indices, number = pa.list_(pa.int16()), pa.float32()
    types = {"id": pa.string(), "task": pa.string(), "labels": indices, "predictions": indices}
    types |= {"probabilities": pa.list_(number), "value": number, "predicted_value": number}
    content = [{"id": f"e{i}", "task": "risk", **row} for i, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(content, pa.schema(types)), folder / "p.parquet")
    return folder / "p.parquet"


@pytest.mark.parametrize(
    ("form", "row", "words"),
    [
        ("class", {"labels": [1, 0]}, "e1: found 2 labels and 1 predictions, expected one of each"),
        ("class", {"predictions": [2]}, "e1: found class 2, expected 0 to 1"),
        ("class", {"labels": [-1]}, "e1: found class -1, expected 0 to 1"),
        ("class", {"labels": None}, "e1: found no classes"),
        ("class", {"probabilities": None}, "e1: found no classes"),
        ("class", {"probabilities": [0.2, 0.3, 0.5]}, "e1: found 3 probabilities, expected 2 as in the first row"),
        ("labels", {"predictions": [0, 2]}, "e1: found class 2, expected 0 to 1"),
        ("words", {"labels": [1, 0]}, "e1: found labels of 2 words and predictions of 1"),
        ("words", {"labels": [3]}, "e1: found class 3, expected 0 to 2"),
        ("value", {"predicted_value": None}, "e1: found no value"),
    ],
)
def test_a_row_of_another_form_is_refused(tmp_path: Path, form: Form, row: dict[str, Any], words: str) -> None:
    good = {"words": WORDS, "value": VALUE}.get(form, GOOD)
    names = ("O", "B-X", "I-X") if form == "words" else ()
    assert read_predictions(written(tmp_path, good, good), "risk", form, names).ids == ("e0", "e1")
    with pytest.raises(ReportError, match=r"p\.parquet: `risk` of ") as error:
        read_predictions(written(tmp_path, good, good | row), "risk", form, names)
    assert words in str(error.value) and "restore the file, or run" in str(error.value)


def test_no_probabilities_of_a_class_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="e0: found 0 probabilities, expected some"):
        read_predictions(written(tmp_path, WORDS), "risk", "class", ())


def test_a_file_without_the_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="found no predictions of `mood`; restore"):
        read_predictions(written(tmp_path, GOOD), "mood", "class", ())


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text("no parquet", "utf-8")
    pq.write_table(pa.table({"task": ["risk"], "id": ["e0"]}), tmp_path / "other.parquet")
    for name in ("text", "other", "absent"):
        with pytest.raises(ReportError, match=rf"{name}.parquet: cannot be read as predictions \(.*restore the file"):
            read_predictions(tmp_path / f"{name}.parquet", "risk", "class", ())


ONE = Predictions(("e0", "e1"), ((0,), (1,)), ((0,), (0,)), 2, ("no", "yes"))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (Predictions(("e0", "e1"), ((0,), (1,)), ((1,), (1,)), 2, ("no", "yes")), None),
        (Predictions(("e0", "e1"), ((0,), (1,)), ((1,), (1,)), 2, ()), None),
        (Predictions(("e0", "e1"), ((0,), (1,)), ((0,), (0,)), 3, ()), "2 and 3 classes"),
        (Predictions(ONE.ids, ONE.labels, ONE.predicted, 2, ("yes", "no")), "the classes no, yes and yes, no"),
        (Predictions(("e0",), ((0,),), ((0,),), 2, ()), "2 and 1 examples"),
        (Predictions(("e0", "e2"), ONE.labels, ONE.predicted, 2, ()), "the example e1 where the other has e2"),
        (Predictions(ONE.ids, ((0,), (0,)), ONE.predicted, 2, ()), "of example e1 the labels 1 and 0"),
    ],
)
def test_examples_labels_and_classes_must_agree(other: Predictions, words: str | None) -> None:
    assert first_difference(ONE, other) == words


def test_the_order_of_the_file_does_not_count(
    tmp_path: Path, predict_classes: Callable[..., list[dict[str, Any]]]
) -> None:
    rows = predict_classes([0, 1, 2], [0, 0, 2])
    found = []
    for number, order in enumerate((rows, rows[::-1])):
        write_predictions(order, tmp_path / f"{number}.parquet")
        found.append(read_predictions(tmp_path / f"{number}.parquet", "sentiment", "class", ()))
    assert found[0] == found[1]
    assert (found[0].labels, found[0].predicted, found[0].width) == (((0,), (1,), (2,)), ((0,), (0,), (2,)), 3)
