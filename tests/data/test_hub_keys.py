"""Keys for the hub, written by hand from its documentation for each kind of task and file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import planted
import pytest

from mmkd.data.card import Card
from mmkd.data.hub_keys import hub_keys

TASKS = {
    "mood": {"kind": "classify", "labels": ["bad", "good"]},
    "grade": {"kind": "ordinal", "labels": ["low", "mid", "high"]},
    "names": {"kind": "tag", "labels": ["O", "B-PER", "I-PER"]},
    "topics": {"kind": "multilabel", "labels": ["art"]},
    "score": {"kind": "regress"},
}


def card_of(folder: Path, splits: Any, files: tuple[str, ...], **block: Any) -> Card:
    source = {"kind": "jsonl", "id": "id", "text": "text", "labels": {}, "splits": splits}
    sums = {name: {"sha256": "0" * 64} for name in files}
    (folder / "root").mkdir()
    return planted.card(folder / "root", source, TASKS, {"train": 7, "transfer": 5, "test": 3}, files=sums, **block)


def test_columns_and_rows(tmp_path: Path):
    card = card_of(tmp_path, {"train": "a.jsonl"}, ("a.jsonl",))
    assert hub_keys(card)["dataset_info"] == {
        "features": [
            {"name": "id", "dtype": "string"},
            {"name": "words", "sequence": "string"},
            {"name": "image", "dtype": "image"},
            {"name": "mood", "dtype": {"class_label": {"names": {"0": "bad", "1": "good"}}}},
            {"name": "grade", "dtype": {"class_label": {"names": {"0": "low", "1": "mid", "2": "high"}}}},
            {"name": "names", "sequence": {"class_label": {"names": {"0": "O", "1": "B-PER", "2": "I-PER"}}}},
            {"name": "topics", "sequence": {"class_label": {"names": {"0": "art"}}}},
            {"name": "score", "dtype": "float32"},
        ],
        "splits": [
            {"name": "train", "num_examples": 7},
            {"name": "transfer", "num_examples": 5},
            {"name": "test", "num_examples": 3},
        ],
    }


@pytest.mark.parametrize(("modalities", "names"), [(["text"], ["words"]), (["image"], ["image"])])
def test_a_modality_that_is_not_there_has_no_column(tmp_path: Path, modalities: list[str], names: list[str]):
    card = card_of(tmp_path, {"train": "a.jsonl"}, ("a.jsonl",), modalities=modalities)
    features = hub_keys(card)["dataset_info"]["features"]
    assert [each["name"] for each in features] == ["id", *names, *TASKS]


@pytest.mark.parametrize(
    ("splits", "files", "expected"),
    [
        (
            {"train": "a.jsonl", "transfer": "u.jsonl", "test": "t.jsonl"},
            ("a.jsonl", "u.jsonl", "t.jsonl", "images.zip"),
            [("train", "a.jsonl"), ("transfer", "u.jsonl"), ("test", "t.jsonl")],
        ),
        ({"train": ["a.jsonl", "b.jsonl"]}, ("a.jsonl", "b.jsonl"), [("train", ["a.jsonl", "b.jsonl"])]),
        ({"train": ["a.jsonl"]}, ("a.jsonl",), [("train", "a.jsonl")]),
        ({"train": "cats/train", "test": "cats/test/"}, ("cats/train/", "cats/test/"),
         [("train", "cats/train/**"), ("test", "cats/test/**")]),
        ({"train": "train"}, ("saved/",), None),  # a split of a data set that was saved to a folder
        ({"train": "train"}, (), None),
    ],
)  # fmt: skip
def test_files_of_each_split(tmp_path: Path, splits: Any, files: tuple[str, ...], expected: Any):
    keys = hub_keys(card_of(tmp_path, splits, files))
    if expected is None:
        assert keys.keys() == {"dataset_info"}
    else:
        named = [{"split": split, "path": path} for split, path in expected]
        assert keys["configs"] == [{"config_name": "default", "data_files": named}]


def test_a_split_has_one_name_in_both_keys(tmp_path: Path):
    """The hub compares them."""
    keys = hub_keys(card_of(tmp_path, {"train": "a.jsonl", "transfer": "u.jsonl"}, ("a.jsonl", "u.jsonl")))
    named = {each["split"] for each in keys["configs"][0]["data_files"]}
    assert named <= {each["name"] for each in keys["dataset_info"]["splits"]}
