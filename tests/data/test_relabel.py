"""Labels of a card as labels of a task: each form, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import planted
import pytest

from mmkd.config.experiment import DataUse
from mmkd.config.plugin_base import TaskConfig
from mmkd.data.base import DataError, Label
from mmkd.data.corpus import Readers
from mmkd.data.mix import Mix
from mmkd.data.relabel import FORMS, MISSING, Form, LabelForm, LabelUse, same_labels
from mmkd.tasks import classify
from mmkd.types import Batch


def use(form: Form, size: int, *to: int) -> LabelUse:
    return LabelUse("theirs", LabelForm(form, size), to)


TURNED = use("class", 2, 1, 0, MISSING)  # theirs: a b c; ours: b a
TAGS = use("words", 3, 0, 1, 2, 0, 0)  # O, B-PER, I-PER, and B-LOC, I-LOC, which are no entities here
SETS = use("set", 2, MISSING, 1, 0, 1)  # the first is left out, two are one
VALUE = use("value", 0)


@pytest.mark.parametrize(
    ("given", "label", "expected"),
    [
        (TURNED, 0, 1),
        (TURNED, 1, 0),
        (TURNED, 2, None),
        (TURNED, None, None),
        (TAGS, (3, 4, 0, 1, 2), (0, 0, 0, 1, 2)),
        (TAGS, (), ()),
        (TAGS, None, None),
        (SETS, frozenset({1, 3}), frozenset({1})),
        (SETS, frozenset({0}), frozenset()),  # a row for which none of ours holds is labelled all the same
        (SETS, frozenset({0, 2}), frozenset({0})),
        (SETS, None, None),
        (VALUE, -0.25, -0.25),
        (VALUE, 0, 0),
        (VALUE, None, None),
    ],
)
def test_one_label(given: LabelUse, label: Label | None, expected: Label | None):
    assert given.label(label) == expected


@pytest.mark.parametrize(
    ("given", "labels", "words", "expected", "kind"),
    [
        (TURNED, [1, None, 0], [3, 0, 2], [1, -1, 0], np.int32),
        (TAGS, [(1, 2), None, (0,), ()], [2, 3, 1, 0], [1, 2, -1, -1, -1, 0], np.int32),
        (SETS, [frozenset({0, 1}), frozenset(), None], [1, 1, 1], [[1, 1], [0, 0], [0, 0]], np.uint8),
        (VALUE, [0.5, None, -1.0], [1, 1, 1], [0.5, 0.0, -1.0], np.float32),
    ],
)
def test_the_labels_of_all_rows(given: LabelUse, labels: list[Any], words: list[int], expected: list[Any], kind: type):
    stored = given.stored(labels, words)
    assert stored.dtype == kind
    assert stored.tolist() == expected


@pytest.mark.parametrize("given", [TURNED, TAGS, SETS, VALUE])
def test_no_rows_at_all(given: LabelUse):
    assert given.stored([], []).shape == ((0, 2) if given is SETS else (0,))


def test_the_same_labels_change_nothing():
    labels: dict[str, Label] = {
        "classify": 2, "ordinal": 1, "tag": (0, 2, 1), "multilabel": frozenset({0, 2}), "regress": 1.5,
    }  # fmt: skip
    for kind, label in labels.items():
        same = same_labels("task", kind, 3)
        assert same.theirs == "task"
        assert same.form == LabelForm(FORMS[kind], 3)
        assert same.label(label) == label


# Through an experiment: what stands in a batch.

TASKS: dict[str, Any] = {
    "mood": {"kind": "classify", "labels": ["bad", "flat", "good"]},
    "ner": {"kind": "tag", "labels": ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]},
    "topics": {"kind": "multilabel", "labels": ["sport", "trade", "art"]},
    "score": {"kind": "regress"},
}
ROWS: list[dict[str, Any]] = [
    {"words": ["in", "Rome"], "mood": "good", "ner": ["O", "B-LOC"], "topics": ["sport", "art"], "score": "0.5"},
    {"words": ["Ann", "Bo", "ran"], "mood": "flat", "ner": ["B-PER", "I-PER", "O"], "topics": [], "score": None},
    {"words": ["gone"], "mood": "bad", "ner": ["O"], "topics": ["trade"], "score": "-2"},
]
OURS: dict[str, TaskConfig] = {
    name: import_module(f"mmkd.tasks.{task['kind']}").Config() for name, task in TASKS.items()
}


@pytest.fixture
def mix_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Mix]:
    """The rows above as one data set or several, each used in its own way."""
    root = tmp_path / "root"
    root.mkdir()
    for split, start in (("train", 0), ("test", 10)):
        lines = [json.dumps({"id": f"r{start + n}"} | row) for n, row in enumerate(ROWS)]
        (root / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    labels: dict[str, Any] = {name: {"column": name} for name in TASKS}
    labels["score"]["missing"] = [None]
    source = {"kind": "jsonl", "splits": {"train": "train.jsonl", "test": "test.jsonl"}, "id": "id", "words": "words"}
    planted.card(
        root, source | {"labels": labels}, TASKS, {"train": 3, "test": 3}, policy={"text_across_splits": "accept"}
    )
    monkeypatch.setenv("MMKD_DATA", str(root))

    def made(tasks: Mapping[str, TaskConfig] = OURS, **uses: dict[str, Any]) -> Mix:
        known = {name: DataUse.model_validate({"card": "planted", **use}) for name, use in uses.items()}
        return Mix(known, tasks, tmp_path, tmp_path / "data")

    return made


def batch_of(mix: Mix) -> Batch:
    corpus = mix.training(Readers({}, {}))
    return corpus.batch(np.arange(len(corpus)))


def test_labels_that_nothing_maps_are_those_of_the_card(mix_of: Callable[..., Mix]):
    mix = mix_of(one={})
    assert {task: mix.labels(task) for task in TASKS} == {name: tuple(t.get("labels", ())) for name, t in TASKS.items()}
    batch = batch_of(mix)
    assert batch.labels["mood"].tolist() == [2, 1, 0]
    assert batch.labels["ner"].tolist() == [[0, 3, -1], [1, 2, 0], [0, -1, -1]]
    assert batch.labels["topics"].tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert batch.labels["score"].tolist() == [0.5, 0.0, -2.0]
    assert {task: has.tolist() for task, has in batch.has_label.items()} == {
        "mood": [True] * 3, "ner": [True] * 3, "topics": [True] * 3, "score": [True, False, True],
    }  # fmt: skip


def test_mapped_labels_have_their_number_in_the_task_and_null_leaves_rows_unlabelled(mix_of: Callable[..., Mix]):
    maps = {
        "mood": {"flat": None, "bad": "down", "good": "up"},
        "ner": {"PER": "who", "LOC": "O"},
        "topics": {"art": "trade", "sport": None},
    }
    mix = mix_of(one={"labels": maps})
    assert mix.labels("mood") == ("down", "up")
    assert mix.labels("ner") == ("O", "B-who", "I-who")
    assert mix.labels("topics") == ("trade",)
    batch = batch_of(mix)
    assert batch.labels["mood"].tolist() == [1, -1, 0]
    assert batch.has_label["mood"].tolist() == [True, False, True]
    assert batch.labels["ner"].tolist() == [[0, 0, -1], [1, 2, 0], [0, -1, -1]]
    assert batch.labels["topics"].tolist() == [[1], [0], [1]]
    assert batch.has_label["topics"].all()


def test_the_task_s_own_order_holds_for_every_set(mix_of: Callable[..., Mix]):
    tasks = {
        "mood": classify.Config(labels=("good", "bad", "flat")),
        "feeling": classify.Config(labels=("low", "high")),
    }
    two = {"tasks": {"feeling": "mood"}, "labels": {"feeling": {"bad": "low", "flat": "low", "good": "high"}}}
    mix = mix_of(tasks, one={}, two=two)
    assert mix.labels("mood") == ("good", "bad", "flat")
    batch = batch_of(mix)
    assert batch.labels["mood"].tolist() == [0, 2, 1, -1, -1, -1]
    assert batch.labels["feeling"].tolist() == [-1, -1, -1, 1, 0, 0]
    assert batch.has_label["feeling"].tolist() == [False] * 3 + [True] * 3


def test_a_second_set_is_mapped_to_the_labels_of_the_first(mix_of: Callable[..., Mix]):
    mix = mix_of({"mood": OURS["mood"]}, one={}, two={"labels": {"mood": {"bad": "good", "good": "bad"}}})
    assert mix.labels("mood") == ("bad", "flat", "good")
    assert batch_of(mix).labels["mood"].tolist() == [2, 1, 0, 0, 1, 2]


def test_a_label_that_the_task_does_not_have_is_refused_before_anything_is_encoded(
    mix_of: Callable[..., Mix], tmp_path: Path
):
    mix = mix_of({"mood": OURS["mood"]}, one={}, two={"labels": {"mood": {"bad": "awful"}}})
    with pytest.raises(
        DataError, match=r"data\.two\.labels\.mood: the labels awful of `mood` are none of bad, flat, good"
    ):
        mix.training(Readers({}, {}))
    assert {path.name for path in (tmp_path / "data").iterdir()} <= {"files", "checks"}


def test_another_map_is_encoded_anew_and_the_same_is_found_again(mix_of: Callable[..., Mix], tmp_path: Path):
    def folders() -> int:
        return len(list((tmp_path / "data" / "rows").iterdir()))

    turned = {"labels": {"mood": {"bad": "good", "good": "bad"}}}
    for use, expected in (({}, 1), ({}, 1), (turned, 2), (turned, 2)):
        batch_of(mix_of({"mood": classify.Config(labels=("bad", "flat", "good"))}, one=use))
        assert folders() == expected
