"""Rows on which two networks differ: counted and chosen by hand, for each form of labels."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkd.report.page.disagreement import Disagreement, disagreement, same_rows
from mmkd.report.records import StoredRecord

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def said(folder: Path, name: str, rows: list[dict]) -> StoredRecord:
    """Predictions as a run leaves them beside its record, the rows of another task among them."""
    empty = {"task": "t", "labels": None, "predictions": None, "probabilities": None, "value": None}
    full = [empty | {"predicted_value": None} | row for row in [*rows, {"id": "a", "task": "u", "labels": [9]}]]
    fields = {"id": pa.string(), "task": pa.string(), "value": pa.float32(), "predicted_value": pa.float32()}
    lists = {"labels": pa.list_(pa.int16()), "predictions": pa.list_(pa.int16())}
    schema = pa.schema(fields | lists | {"probabilities": pa.list_(pa.float32())})
    pq.write_table(pa.Table.from_pylist(full, schema), folder / f"{name}.parquet")
    return StoredRecord(folder / f"{name}.json", f"{name}.json", None, None)


def classes(rows: dict[str, tuple[int, list[float]]]) -> list[dict]:
    """Id -> (label, probabilities), the largest of which is predicted."""
    return [
        {"id": name, "labels": [label], "predictions": [p.index(max(p))], "probabilities": p}
        for name, (label, p) in rows.items()
    ]


def compared(folder: Path, one: list[dict], other: list[dict], form, labels=(), number: int = 9) -> Disagreement:
    found = disagreement(said(folder, "one", one), said(folder, "other", other), "t", form, labels, number)
    assert found is not None
    return found


@pytest.fixture
def of_classes(tmp_path: Path) -> tuple[list[dict], list[dict]]:
    one = {
        "a": (0, [0.75, 0.25]),  # both say 0
        "b": (0, [0.625, 0.375]),  # right; surer than the other is
        "c": (0, [0.875, 0.125]),  # right, and both are sure
        "d": (1, [0.75, 0.25]),  # wrong
        "e": (1, [0.75, 0.25]),  # wrong, as sure as d
        "f": (2, [0.75, 0.25]),  # both are wrong
        "g": (0, [0.75, 0.25]),  # the other has no such row
    }
    other = {
        "a": (0, [0.75, 0.25]),
        "b": (0, [0.4375, 0.5625]),
        "c": (0, [0.125, 0.875]),
        "d": (1, [0.25, 0.75]),
        "e": (1, [0.25, 0.75]),
        "f": (2, [0.25, 0.75]),
    }
    return classes(one), classes(other)


def test_rows_are_counted_and_chosen_in_turn_the_surest_first(tmp_path: Path, of_classes):
    found = compared(tmp_path, *of_classes, "class")
    assert (found.rows, found.differing, found.one_right, found.other_right) == (6, 5, 2, 2)
    assert [row.id for row in found.chosen] == ["c", "d", "b", "e"]
    assert [row.right for row in found.chosen] == ["one", "other"] * 2
    assert [row.sure for row in found.chosen] == [0.875, 0.75, 0.5625, 0.75]
    assert (found.chosen[2].gold, found.chosen[2].one.answer, found.chosen[2].other.answer) == ((0,), (0,), (1,))
    assert (found.chosen[2].one.probability, found.chosen[2].other.probability) == (0.625, 0.5625)


def test_the_order_of_the_files_does_not_matter_and_a_number_bounds_the_choice(tmp_path: Path, of_classes):
    one, other = of_classes
    found = compared(tmp_path, one[::-1], other, "class", number=3)
    assert [row.id for row in found.chosen] == ["c", "d", "b"]


def test_where_one_is_never_right_the_other_fills_the_choice(tmp_path: Path):
    one = classes({name: (0, [0.75, 0.25]) for name in "abc"})
    other = classes({name: (0, [0.25, 0.75]) for name in "abc"})
    assert [row.id for row in compared(tmp_path, one, other, "class", number=2).chosen] == ["a", "b"]


def test_an_id_that_stands_twice_is_left_out(tmp_path: Path):
    one = classes({"a": (0, [0.75, 0.25]), "b": (0, [0.75, 0.25])})
    other = classes({"a": (0, [0.25, 0.75]), "b": (0, [0.25, 0.75])})
    found = compared(tmp_path, [*one, one[0]], other, "class")
    assert found.rows == 1 and [row.id for row in found.chosen] == ["b"]


def test_a_task_that_one_has_not_is_no_disagreement(tmp_path: Path, of_classes):
    one, other = said(tmp_path, "one", of_classes[0]), said(tmp_path, "other", [])
    assert disagreement(one, other, "t", "class", (), 6) is None


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"a": (0, [0.25, 0.75]), "b": (1, [0.75, 0.25])}, True),
        ({"a": (0, [0.25, 0.75]), "b": (0, [0.75, 0.25])}, False),
        ({"a": (0, [0.25, 0.75])}, False),
        ({"a": (0, [0.25, 0.75]), "c": (1, [0.75, 0.25])}, False),
    ],
)
def test_rows_are_the_same_by_ids_and_labels(tmp_path: Path, other: dict, same: bool):
    one = {"a": (0, [0.75, 0.25]), "b": (1, [0.75, 0.25])}
    stored = said(tmp_path, "one", classes(one)), said(tmp_path, "other", classes(other))
    assert same_rows(*stored, "t") is same


def tagged(**rows: tuple[list[int], list[int]]) -> list[dict]:
    return [{"id": n, "labels": gold, "predictions": tags, "probabilities": []} for n, (gold, tags) in rows.items()]


def test_tags_are_compared_by_entities(tmp_path: Path):
    one = tagged(
        a=([1, 2, 0], [1, 2, 0]),  # PER 0-2, as labelled
        b=([1, 2, 3], [1, 2, 0]),  # one of two
        c=([0, 0], [0, 2]),  # an I- alone is no entity
        d=([1, 3], [1, 3]),
    )
    other = tagged(
        a=([1, 2, 0], [1, 0, 0]),  # PER 0-1: cut short
        b=([1, 2, 3], [1, 2, 3]),
        c=([0, 0], [0, 0]),
        d=([1, 3], [3, 1]),  # four entities that only one has
    )
    found = compared(tmp_path, one, other, "words", TAGS)
    assert (found.rows, found.differing, found.one_right, found.other_right) == (4, 3, 2, 1)
    assert [(row.id, row.right, row.sure) for row in found.chosen] == [
        ("d", "one", 4),
        ("b", "other", 1),
        ("a", "one", 2),
    ]
    assert found.chosen[0].one.probability is None


def test_a_word_without_a_label_is_outside(tmp_path: Path):
    found = compared(tmp_path, tagged(a=([3, -1], [3, 0])), tagged(a=([3, -1], [3, 4])), "words", TAGS)
    assert found.chosen[0].right == "one"


def test_without_names_tags_are_compared_word_by_word(tmp_path: Path):
    found = compared(tmp_path, tagged(a=([0, 0], [0, 2])), tagged(a=([0, 0], [0, 0])), "words")
    assert found.chosen[0].right == "other"


def test_sets_are_as_sure_as_their_least_sure_label(tmp_path: Path):
    one = [{"id": "a", "labels": [0, 2], "predictions": [0, 2], "probabilities": [0.875, 0.25, 0.625]}]
    other = [{"id": "a", "labels": [0, 2], "predictions": [], "probabilities": [0.125, 0.25, 0.25]}]
    (row,) = compared(tmp_path, one, other, "set").chosen
    assert (row.right, row.one.probability, row.other.probability, row.sure) == ("one", 0.625, 0.75, 0.625)


def test_of_values_the_nearer_is_right(tmp_path: Path):
    gold = {"a": 1.0, "b": 2.0, "c": 0.0, "d": 0.5}
    said_one, said_other = {"a": 1.5, "b": 3.0, "c": -1.0, "d": 0.25}, {"a": -1.0, "b": 2.5, "c": 1.0, "d": 0.25}
    one, other = (
        [{"id": name, "value": gold[name], "predicted_value": value} for name, value in values.items()]
        for values in (said_one, said_other)
    )
    found = compared(tmp_path, one, other, "value")
    assert (found.rows, found.differing, found.one_right, found.other_right) == (4, 3, 1, 1)
    assert [(row.id, row.right, row.sure) for row in found.chosen] == [("a", "one", 2.5), ("b", "other", 0.5)]
