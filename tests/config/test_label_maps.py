"""Maps of labels: by name, by entity type, and the order of a task's logits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from mmkd.config.label_maps import label_order, names_to_map, renamed

NER = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-multi-word", "I-multi-word")


@pytest.mark.parametrize(
    ("labels", "kind", "names", "expected"),
    [
        (("bad", "good"), "classify", {}, ("bad", "good")),
        (("bad", "good"), "classify", {"bad": "negative"}, ("negative", "good")),
        (("bad", "fair", "good"), "ordinal", {"fair": None}, ("bad", None, "good")),
        (("bad", "worse", "good"), "classify", {"worse": "bad"}, ("bad", "bad", "good")),
        (("bad", "good"), "classify", {"bad": "good", "good": "bad"}, ("good", "bad")),
        (("O", "B-x"), "multilabel", {"x": "y", "O": "none"}, ("none", "B-x")),
        ((), "regress", {}, ()),
        (NER, "tag", {}, NER),
        (NER[:5], "tag", {"PER": "person"}, ("O", "B-person", "I-person", "B-LOC", "I-LOC")),
        (NER[:5], "tag", {"LOC": "O"}, ("O", "B-PER", "I-PER", "O", "O")),
        (NER[3:], "tag", {"multi-word": "LOC"}, ("B-LOC", "I-LOC", "B-LOC", "I-LOC")),
        (NER[:3], "tag", {"O": "PER", "B-PER": "x"}, NER[:3]),  # tags themselves are not mapped
    ],
)
def test_labels_are_renamed(
    labels: Sequence[str], kind: str, names: Mapping[str, str | None], expected: tuple[str | None, ...]
):
    assert renamed(labels, kind, names) == expected


def test_what_a_map_may_name():
    assert names_to_map(NER, "tag") == ["PER", "LOC", "multi-word"]
    assert names_to_map(("bad", "good"), "classify") == ["bad", "good"]
    assert names_to_map((), "regress") == []


def test_the_order_of_the_labels_is_that_of_the_task_then_of_the_first_set():
    first, second = ("b", None, "a", "b"), ("c", "a", "b")
    assert label_order(None, [first, second]) == ("b", "a")
    assert label_order(("a", "b", "c"), [first, second]) == ("a", "b", "c")
    assert label_order(["x"], []) == ("x",)
    assert label_order(None, []) == ()
    assert label_order(None, [("O", "B-PER", "I-PER", "O", "O")]) == ("O", "B-PER", "I-PER")
