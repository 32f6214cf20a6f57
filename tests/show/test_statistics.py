"""The numbers of a data set, each against another way to compute it."""

import json
from pathlib import Path

import numpy as np
import pytest
import tiny_sets
from made_rows import MOOD, NER, RISK, SCORE, TOPICS, png, row
from sklearn.metrics import confusion_matrix

from mmkd.data.base import Example
from mmkd.data.card import Card
from mmkd.show.image_statistics import measure_images
from mmkd.show.spread import histogram_of_counts, histogram_of_values, spread
from mmkd.show.statistics import measure
from mmkd.show.word_statistics import MOST, log_odds, terms, typical_words, vocabularies


@pytest.fixture
def card(tmp_path: Path) -> Card:
    (tmp_path / "root").mkdir()
    plain = tiny_sets.card(tmp_path / "root", {"kind": "market_notes"}, {"mood": {"kind": "regress"}})
    return plain.model_copy(
        update={"tasks": {"mood": MOOD, "risk": RISK, "ner": NER, "topics": TOPICS, "score": SCORE}}
    )


def rows() -> dict[str, list[Example]]:
    return {
        "train": [
            row("Ann met Bob", ner=(1, 0, 1), mood=1, risk=0, topics=frozenset({0, 1}), score=0.5),
            row("in New York", ner=(0, 3, 4), mood=1, risk=2, topics=frozenset()),
            row("one two three four", png(4, 3), mood=0, risk=2),
            row("", png(8, 2), score=1.5),
        ],
        "test": [row("Ann, sleeps!", ner=(0, 0), mood=0, topics=frozenset({1}), score=1)],
    }


def test_rows_and_modalities(card: Card):
    found = measure(card, rows())
    assert found.rows == {"train": 4, "test": 1}
    assert found.modalities["train"] == {"both": 1, "text": 2, "image": 1}
    assert found.modalities["test"] == {"both": 0, "text": 1, "image": 0}


def test_labels_are_counted_with_their_shares(card: Card):
    tasks = measure(card, rows()).tasks
    assert tasks["mood"].counts == {"train": {"bad": 1, "good": 2}, "test": {"bad": 1, "good": 0}}
    assert tasks["mood"].labelled == {"train": 3, "test": 1}
    assert tasks["mood"].shares["train"] == {"bad": pytest.approx(1 / 3), "good": pytest.approx(2 / 3)}
    assert tasks["risk"].counts["train"] == {"low": 1, "middle": 0, "high": 2}
    assert tasks["risk"].shares["test"] == {"low": 0, "middle": 0, "high": 0}
    assert tasks["topics"].counts["train"] == {"a": 1, "b": 1}
    assert tasks["topics"].shares["train"] == {"a": 0.5, "b": 0.5}
    assert tasks["ner"].counts == {"train": {"PER": 2, "LOC": 1}, "test": {"PER": 0, "LOC": 0}}
    assert tasks["ner"].shares["train"] == {"PER": pytest.approx(2 / 3), "LOC": pytest.approx(1 / 3)}
    assert tasks["score"].values["train"].mean == 1.0
    assert tasks["score"].values["test"].n == tasks["score"].labelled["test"] == 1
    assert sum(tasks["score"].histogram.counts["train"]) == 2


def test_words_are_counted_over_rows_with_text(card: Card):
    words = measure(card, rows()).words
    assert (words["train"].n, words["train"].smallest, words["train"].largest) == (3, 3, 4)
    assert words["train"].mean == pytest.approx(10 / 3)
    assert words["test"].median == 2


@pytest.mark.parametrize("size", [1, 2, 3, 19, 20, 21, 500])
def test_the_spread_is_that_of_numpy(size: int):
    values = [float(value) for value in np.random.default_rng(size).exponential(10, size)]
    found = spread(values)
    assert found.percentile_95 == pytest.approx(np.percentile(values, 95))
    assert (found.n, found.mean, found.median) == (
        *(size, pytest.approx(np.mean(values))),
        pytest.approx(np.median(values)),
    )
    assert (found.smallest, found.largest) == (min(values), max(values))


def test_a_histogram_of_values_is_that_of_numpy():
    values = {"train": np.random.default_rng(0).normal(size=700).tolist(), "test": [0.25]}
    found = histogram_of_values(values)
    edges = np.linspace(min(values["train"]), max(values["train"]), len(found.edges) + 1)
    assert found.edges == pytest.approx(edges[:-1])
    assert found.counts["train"] == np.histogram(values["train"], edges)[0].tolist()
    assert sum(found.counts["test"]) == 1
    assert histogram_of_values({"train": [2.0, 2.0]}) is None
    assert histogram_of_values({}) is None


def test_a_histogram_of_counts_keeps_its_bins_narrow_for_a_few_huge_rows():
    lengths = [1 + place % 50 for place in range(1000)] + [100_000]
    found = histogram_of_counts({"train": lengths})
    assert found.open_end
    assert found.edges[-1] <= 50 < found.edges[-1] + found.width
    for place, edge in enumerate(found.edges[:-1]):
        assert found.counts["train"][place] == sum(edge <= length < edge + found.width for length in lengths)
    assert sum(found.counts["train"]) == 1001
    assert not histogram_of_counts({"train": [1, 2, 3]}).open_end
    assert histogram_of_counts({"train": []}) is None


def test_terms_lose_case_and_punctuation_and_keep_what_means_something():
    assert terms(row("Hello, (WORLD)! #Win @ann $TSLA :-) 😂 ... it's")) == [
        *("hello", "world", "#win", "@ann", "$tsla", "😂", "it's")
    ]


def test_the_words_that_train_lacks():
    found = vocabularies({"train": [row("a b a")], "test": [row("A c c"), row("d b")], "validation": [row("")]})
    assert (found["train"].words, found["train"].types, found["train"].new_words) == (3, 2, None)
    assert (found["test"].words, found["test"].types) == (5, 4)
    assert (found["test"].new_words, found["test"].new_types) == (3 / 5, 2 / 4)
    assert found["validation"].new_words is None
    assert vocabularies({"test": [row("a")]})["test"].new_types is None


def test_log_odds_by_hand():
    # Of 4 rows 3 have the word, of 6 others 1: ln(3.5 * 5.5 / (1.5 * 1.5)) / sqrt(1/3.5 + 1/1.5 + 1/1.5 + 1/5.5).
    assert log_odds(3, 4, 1, 6) == pytest.approx(2.1466 / 1.341964, abs=1e-4)
    assert log_odds(2, 4, 3, 6) == pytest.approx(0)
    assert log_odds(1, 6, 3, 4) == pytest.approx(-log_odds(3, 4, 1, 6))


def test_typical_words_are_those_of_one_label():
    good = [row("good good day x", mood=1)] * 6 + [row("fine day x", mood=1)] * 2
    bad = [row("bad day x good", mood=0)] + [row("bad night x", mood=0)] * 7
    unlabelled = [row("good elsewhere")] * 50
    found = typical_words(MOOD, "mood", good + bad + unlabelled)
    assert [(word.word, word.rows, word.others) for word in found["good"]] == [
        ("day", 8, 1),
        ("good", 6, 1),
        ("fine", 2, 0),
    ]
    assert [word.word for word in found["bad"]] == ["bad", "night"]
    assert found["good"][1].z == log_odds(6, 8, 1, 8)
    many = [row(" ".join(f"w{place}" for place in range(30)), mood=1), row("other", mood=0)]
    assert len(typical_words(MOOD, "mood", many)["good"]) == MOST


def test_typical_words_come_from_train_alone(card: Card):
    data = {"train": [row("a", mood=0), row("b", mood=1)], "test": [row("secret", mood=1)] * 50}
    typical = measure(card, data).typical
    assert [word.word for word in typical["mood"]["good"]] == ["b"]
    assert set(typical) == {"mood", "risk", "topics"}


def test_label_pairs_are_a_confusion_matrix(card: Card):
    generator = np.random.default_rng(0)
    mood, risk = generator.integers(0, 2, 90), generator.integers(0, 3, 90)
    data = [row("a", mood=int(a), risk=int(b)) for a, b in zip(mood, risk, strict=True)]
    found = measure(card, {"train": data[:60], "test": [*data[60:], row("a", mood=1), row("a", risk=1)]}).pairs
    assert [(pair.first, pair.second) for pair in found] == [("mood", "risk")]
    assert found[0].counts == confusion_matrix(mood, risk, labels=[0, 1, 2])[:2].tolist()


def test_images_are_measured_from_their_files():
    data = [row("", png(4, 3)), row("", png(4, 3)), row("a"), row("", png(9, 5)), row("", b"no image"), row("", b"")]
    found = measure_images(data, 100)
    assert (found.all, found.looked_at, found.unreadable) == (5, 5, 2)
    assert found.sizes == [(4, 3, 2), (9, 5, 1)]
    assert (found.width.median, found.height.largest) == (4, 5)
    assert found.bytes.largest == max(len(png(4, 3)), len(png(9, 5)))
    assert measure_images([row("a")], 100) is None
    only_broken = measure_images([row("", b"no image")], 100)
    assert (only_broken.unreadable, only_broken.width) == (1, None)


def test_at_most_so_many_images_are_opened_from_all_over_the_split():
    opened: list[int] = []

    def reader(place: int):
        return lambda: (opened.append(place), png(1, 1))[1]

    data = [Example("id", (), reader(place), {}) for place in range(100)]
    found = measure_images(data, 10)
    assert (found.all, found.looked_at) == (100, 10)
    assert opened == list(range(0, 100, 10))


def test_everything_is_plain_json(card: Card):
    found = measure(card, rows(), {"train": {"row_repeated": 2}, "test": {}})
    plain = json.loads(json.dumps(found.plain()))
    assert plain["tasks"]["mood"]["counts"]["train"] == {"bad": 1, "good": 2}
    assert plain["findings"] == {"train": {"row_repeated": 2}, "test": {}}
    assert plain["images"]["train"]["sizes"] == [[4, 3, 1], [8, 2, 1]]


def test_a_set_without_rows_has_numbers_too(card: Card):
    found = measure(card, {"train": []})
    assert found.rows == {"train": 0}
    assert (found.words, found.images, found.word_histogram, found.findings) == ({}, {}, None, None)
