"""From what stands in a column to a label: each kind of task, by hand."""

from typing import Any

import pytest

from mmkd.data._files import RowProblem
from mmkd.data._labels import LabelColumn, LabelReader
from mmkd.data.card import CardTask

CLASSES = CardTask(kind="classify", labels=("no", "yes"))
TOPICS = CardTask(kind="multilabel", labels=("a", "b", "c d"))
TAGS = CardTask(kind="tag", labels=("O", "B-X", "I-X", "B-Y", "I-Y"))
SCORE = CardTask(kind="regress", range=(-1.0, 1.0))


def read(task: CardTask, raw: Any, words: tuple[str, ...] = (), **column: Any) -> Any:
    return LabelReader("task", task, LabelColumn(column="c", **column)).read(raw, words)


@pytest.mark.parametrize(
    ("task", "raw", "column", "expected"),
    [
        (CLASSES, "yes", {}, 1),
        (CLASSES, "1", {"values": {"0": "no", "1": "yes", "2": "yes"}}, 1),
        (CLASSES, "2", {"values": {"0": "no", "1": "yes", "2": "yes"}}, 1),
        (CLASSES, True, {"values": {"true": "yes", "false": "no"}}, 1),
        (CLASSES, False, {"missing": ("false",)}, None),
        (CLASSES, None, {"missing": (None, "?")}, None),
        (CLASSES, "?", {"missing": (None, "?")}, None),
        (CLASSES, ["x", "yes"], {"item": 1}, 1),
        (CLASSES, ["x", None], {"item": 1, "missing": (None,)}, None),
        (TOPICS, ["c d", "a", "a"], {}, frozenset({0, 2})),
        (TOPICS, [], {}, frozenset()),
        (TOPICS, "c d;a", {"separator": ";"}, frozenset({0, 2})),
        (TOPICS, " a ; b;", {"separator": ";"}, frozenset({0, 1})),
        (TOPICS, "", {"separator": ";"}, frozenset()),
        (TOPICS, "", {"separator": ";", "missing": ("",)}, None),
        (TOPICS, "1,2", {"separator": ",", "values": {"1": "a", "2": "c d"}}, frozenset({0, 2})),
        (SCORE, "1e-1", {}, 0.1),
        (SCORE, " -1 ", {}, -1.0),
        (SCORE, "+.5", {}, 0.5),
        (SCORE, "1.", {}, 1.0),
        (SCORE, "", {"missing": ("",)}, None),
    ],
)
def test_labels(task, raw, column, expected):
    assert read(task, raw, **column) == expected


@pytest.mark.parametrize(
    ("task", "raw", "column", "reason", "says"),
    [
        (CLASSES, "Yes", {}, "label_unknown", "found 'Yes'; expected one of 'no', 'yes' for the task task"),
        (CLASSES, "yes ", {}, "label_unknown", "found 'yes '"),
        (CLASSES, "x" * 1000, {}, "label_unknown", "xxx...; expected"),
        (CLASSES, None, {}, "label_unknown", "found null; expected text"),
        (CLASSES, ["yes"], {}, "column_type", 'found ["yes"]; expected text'),
        (CLASSES, "yes", {"item": 0}, "column_type", 'found "yes"; expected a list'),
        (CLASSES, [], {"item": 0}, "column_type", "found 0 items; expected item 0"),
        (TOPICS, "a", {}, "column_type", 'found "a"; expected a list'),
        (TOPICS, ["a"], {"separator": ";"}, "column_type", "expected labels in a text"),
        (TOPICS, ["a", "x"], {}, "label_unknown", "found 'x'"),
        (TOPICS, ["a", None], {}, "column_type", "found null; expected text"),
        (SCORE, "1.5", {}, "label_unknown", "found 1.5; expected a number from -1.0 to 1.0"),
        (SCORE, "nan", {}, "label_not_a_number", "found 'nan'; expected a finite number"),
        (SCORE, "-Infinity", {}, "label_not_a_number", "expected a finite number"),
        (SCORE, "1e999", {}, "label_not_a_number", "expected a finite number"),
        (SCORE, "0_1", {}, "label_not_a_number", "found '0_1'"),
        (SCORE, "\u0661", {}, "label_not_a_number", "expected a finite number"),
        (SCORE, "0,5", {}, "label_not_a_number", "found '0,5'"),
        (SCORE, "", {}, "label_not_a_number", "found ''"),
        (SCORE, True, {}, "label_not_a_number", "found 'true'"),
        (SCORE, ["1"], {}, "column_type", "expected a number"),
    ],
)
def test_what_is_no_label(task, raw, column, reason, says):
    with pytest.raises(RowProblem) as caught:
        read(task, raw, **column)
    assert (caught.value.reason, caught.value.field) == (reason, "c")
    assert says in caught.value.message


def test_tags_are_one_for_each_word_and_bio():
    words = ("u", "v", "w")
    assert read(TAGS, ["B-X", "I-X", "O"], words) == (1, 2, 0)
    assert read(TAGS, ["1", "2", "0"], words, values={"0": "O", "1": "B-X", "2": "I-X"}) == (1, 2, 0)
    assert read(TAGS, ["I-X", "I-Y", "I-Y"], words, repair=True) == (1, 3, 4)
    for raw, reason, says in (
        (["O", "O"], "label_count", "found 2 labels; expected one for each of 3 words"),
        (["B-X", "I-Y", "O"], "label_bio", "found the tag 'I-Y' at 'v', which continues no entity of its type"),
        (["O", "B-Z", "O"], "label_unknown", "found 'B-Z'"),
        ("O O O", "column_type", "expected a list"),
        (["O", None, "O"], "column_type", "found null; expected text"),
    ):
        with pytest.raises(RowProblem) as caught:
            read(TAGS, raw, words)
        assert caught.value.reason == reason
        assert says in caught.value.message


def test_a_regress_task_without_a_range_takes_any_finite_number():
    assert read(CardTask(kind="regress"), "-1e300") == -1e300
