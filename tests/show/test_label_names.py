"""Labels as people read them."""

import numpy as np
import pytest
from seqeval.scheme import IOB2, Entities

from mmkd.data.card import CardTask
from mmkd.show.label_names import classes, entities, held

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def test_entities_are_those_of_seqeval():
    generator = np.random.default_rng(0)
    rows = [[TAGS[index] for index in generator.integers(0, 5, size)] for size in generator.integers(1, 12, 300)]
    expected = [[(each.tag, each.start, each.end) for each in row] for row in Entities(rows, IOB2).entities]
    assert [entities(row) for row in rows] == expected
    assert sum(map(len, expected)) > 300


@pytest.mark.parametrize(
    ("kind", "labels", "label", "expected_classes", "expected"),
    [
        ("classify", ("bad", "good"), 1, ["bad", "good"], ["good"]),
        ("ordinal", ("low", "high"), 0, ["low", "high"], ["low"]),
        ("multilabel", ("a", "b", "c"), frozenset({2, 0}), ["a", "b", "c"], ["a", "c"]),
        ("multilabel", ("a", "b", "c"), frozenset(), ["a", "b", "c"], []),
        ("regress", (), 0.5, [], []),
        ("tag", TAGS, (1, 1, 0, 3, 4), ["PER", "LOC"], ["PER", "PER", "LOC"]),
    ],
)
def test_what_a_row_holds(kind, labels, label, expected_classes, expected):
    task = CardTask(kind=kind, labels=labels)
    assert classes(task) == expected_classes
    assert held(task, label) == expected
