"""Entities in words: spans and strict F1 against seqeval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seqeval.metrics.v1 import precision_recall_fscore_support
from seqeval.scheme import IOB2, Entities

from mmkd.tasks import tag

LABELS = ("O", "B-ORG", "I-ORG", "B-PER", "I-PER")
sequences = st.lists(st.lists(st.sampled_from(LABELS), min_size=1, max_size=9), min_size=1, max_size=5)


def task(labels: tuple[str, ...] = LABELS) -> tag.Task:
    return tag.Task(tag.Config(), "ner", labels)


def indices(sequence: list[str]) -> np.ndarray:
    return np.array([LABELS.index(label) for label in sequence])


def certain(sequence: list[str]) -> np.ndarray:
    return np.eye(len(LABELS))[indices(sequence)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=12))
def test_spans_are_seqevals_strict_ones(sequence: list[str]) -> None:
    expected = [(found.tag, found.start, found.end) for found in Entities([sequence], IOB2).entities[0]]
    assert tag.spans(sequence) == expected


@settings(max_examples=150, deadline=None)
@given(sequences, st.randoms(use_true_random=False))
def test_scores_are_seqevals_strict_ones(gold: list[list[str]], random: object) -> None:
    """Predictions are the gold labels with some exchanged."""
    predicted = [[random.choice(LABELS) if random.random() < 0.3 else label for label in row] for row in gold]
    scores = task().score([indices(row) for row in gold], [certain(row) for row in predicted])
    expected = dict.fromkeys(("precision", "recall", "entity_f1"), 0.0)
    if any(tag.spans(row) for row in gold) or any(tag.spans(row) for row in predicted):
        found = precision_recall_fscore_support(gold, predicted, average="micro", scheme=IOB2, zero_division=0)
        expected = dict(zip(expected, found[:3], strict=True))
    for name, value in expected.items():
        assert scores[name].value == pytest.approx(float(value), abs=1e-12)
    same = [a == b for x, y in zip(gold, predicted, strict=True) for a, b in zip(x, y, strict=True)]
    assert scores["accuracy"].value == pytest.approx(sum(same) / len(same))


def test_scores_by_hand() -> None:
    """Gold: ORG 0-2, PER 3-4. Found: ORG 0-1 (end wrong), PER 3-4. A lone I counts for nothing."""
    gold = ["B-ORG", "I-ORG", "O", "B-PER", "O"]
    found = ["B-ORG", "O", "I-ORG", "B-PER", "O"]
    scores = task().score([indices(gold)], [certain(found)])
    assert list(scores) == ["entity_f1", "precision", "recall", "accuracy"]
    assert [scores[name].value for name in scores] == [0.5, 0.5, 0.5, 0.6]
    assert [scores[name].n for name in scores] == [2, 2, 2, 5]


def test_n_counts_what_the_ratio_is_of() -> None:
    scores = task().score([indices(["B-ORG", "O", "O"])], [certain(["B-ORG", "B-PER", "B-PER"])])
    assert [scores[name].n for name in ("entity_f1", "precision", "recall", "accuracy")] == [1, 3, 1, 3]
    assert scores["precision"].value == pytest.approx(1 / 3)


def test_an_entity_of_another_sentence_is_another() -> None:
    rows = [["B-ORG", "O"], ["O", "O"]]
    scores = task().score([indices(row) for row in rows], [certain(row) for row in reversed(rows)])
    assert scores["entity_f1"].value == 0


def test_a_word_that_was_cut_counts_as_outside() -> None:
    probabilities = certain(["B-ORG", "I-ORG", "O"])
    probabilities[1] = np.nan
    assert task().predict(probabilities).tolist() == [1, 0, 0]
    scores = task().score([indices(["B-ORG", "I-ORG", "O"])], [probabilities])
    assert scores["entity_f1"].value == 0
    assert scores["accuracy"].value == pytest.approx(2 / 3)
    # O need not be the first label.
    turned = tag.Task(tag.Config(), "ner", ["I-X", "B-X", "O"])
    assert turned.predict(np.full((1, 3), np.nan)).tolist() == [2]


def test_no_entity_anywhere_is_zero() -> None:
    scores = task().score([indices(["O", "O"])], [certain(["O", "O"])])
    assert [scores[name].value for name in ("entity_f1", "precision", "recall", "accuracy")] == [0, 0, 0, 1]
    assert scores["entity_f1"].n == 0


@pytest.mark.parametrize(
    "labels",
    [
        ("O",),
        ("O", "B-ORG"),
        ("B-ORG", "I-ORG"),
        ("O", "B-ORG", "I-PER"),
        ("O", "B-ORG", "I-ORG", "S-ORG"),
        ("O", "B-", "I-"),
        ("O", "O", "B-ORG", "I-ORG"),
        ("O", "B-ORG", "B-ORG", "I-ORG"),
    ],
)
def test_labels_that_are_no_bio_are_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected O, and B-X and I-X"):
        task(labels)


def test_rows_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="example 1 has 2 labels and 3 rows"):
        task().score([indices(["O"]), indices(["O", "O"])], [certain(["O"]), certain(["O"] * 3)])
    with pytest.raises(ValueError, match="no labelled word"):
        task().score([], [])


def test_control_lenient_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """An I that opens an entity, as seqeval's default mode has it, fails the comparison with the strict mode."""
    strict = tag.spans

    def lenient(tags: list[str]) -> list[tag.Span]:
        open_ = [
            f"B{label[1:]}" if label[0] == "I" and (not place or tags[place - 1][1:] != label[1:]) else label
            for place, label in enumerate(tags)
        ]
        return strict(open_)

    monkeypatch.setattr(tag, "spans", lenient)
    with pytest.raises(AssertionError):
        test_spans_are_seqevals_strict_ones()
