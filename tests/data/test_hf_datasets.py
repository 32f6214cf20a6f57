"""Hugging Face data sets: saved to disk, and of the hub, which is never reached here."""

import json
import pickle
from pathlib import Path
from typing import Any

import datasets
import pytest
from tiny_sets import examples_of, finding_of, picture, source_of

from mmkd.config.problems import ConfigError
from mmkd.data.base import DataError, Example
from mmkd.data.findings import Finding

TASKS = {"mood": {"kind": "classify", "labels": ["sad", "happy"]}}
FORM: dict[str, Any] = {"kind": "hf_datasets", "id": "id", "text": "text", "labels": {"mood": {"column": "mood"}}}
SOURCE = FORM | {"folder": "set", "splits": {"train": "train"}}
COMMIT = "0123456789" * 4
MOODS = datasets.ClassLabel(names=["sad", "happy"])
ROWS = {"id": ["a", "b", "c", "d"], "text": ["x", "y", "z", ""], "mood": [0, 1, 1, 0]}
IMAGES = [
    {"bytes": picture(1), "path": None},
    None,
    {"bytes": picture(3), "path": "c.png"},
    {"bytes": picture(4), "path": None},
]


@pytest.fixture(autouse=True)
def quiet(tmp_path):
    datasets.disable_progress_bars()
    (tmp_path / "root").mkdir()


def made(values: dict[str, Any], **features: Any) -> datasets.Dataset:
    known = {name: features.get(name, datasets.Value("string")) for name in values}
    return datasets.Dataset.from_dict(values, features=datasets.Features(known))


def read(folder: Path, saved: Any, tasks: Any = None, **change: Any) -> list[Example | Finding]:
    saved.save_to_disk(folder / "root" / "set")
    return list(source_of(folder / "root", SOURCE | change, TASKS if tasks is None else tasks).read("train"))


def test_class_labels_by_name(tmp_path):
    rows = examples_of(read(tmp_path, made(ROWS | {"text": ["x"] * 4}, mood=MOODS)))
    assert [(row.id, row.labels["mood"], row.row, row.file) for row in rows] == [
        ("a", 0, 1, "set"),
        ("b", 1, 2, "set"),
        ("c", 1, 3, "set"),
        ("d", 0, 4, "set"),
    ]


def test_a_class_label_that_is_not_given(tmp_path):
    saved = made(ROWS | {"text": ["x"] * 4, "mood": [0, -1, None, 1]}, mood=MOODS)
    rows = read(tmp_path, saved, labels={"mood": {"column": "mood", "missing": [None]}})
    assert [dict(row.labels) for row in examples_of(rows)] == [{"mood": 0}, {}, {}, {"mood": 1}]


def test_lists_of_class_labels(tmp_path):
    tasks = {"ner": {"kind": "tag", "labels": ["O", "B-X", "I-X"]}}
    tags = datasets.Sequence(datasets.ClassLabel(names=["O", "B-X", "I-X"]))
    words = datasets.Sequence(datasets.Value("string"))
    saved = made({"id": ["a", "b"], "words": [["x", "y"], ["z"]], "tags": [[1, 2], [-1]]}, words=words, tags=tags)
    rows = read(tmp_path, saved, tasks, text=None, words="words", labels={"ner": {"column": "tags"}})
    assert isinstance(rows[0], Example)
    assert dict(rows[0].labels) == {"ner": (1, 2)}
    assert finding_of(rows, "column_type").row == 2


def test_images_and_rows_without_one(tmp_path):
    saved = made(ROWS | {"image": IMAGES}, mood=MOODS, image=datasets.Image())
    rows = examples_of(read(tmp_path, saved, image={"column": "image"}))
    assert [row.image and row.image() for row in rows] == [picture(1), None, picture(3), picture(4)]
    assert rows[3].words == ()
    assert pickle.loads(pickle.dumps(rows[2])).image() == picture(3)


def test_rows_that_are_an_image_alone(tmp_path):
    saved = made({"image": IMAGES[2:]}, image=datasets.Image())
    rows = examples_of(read(tmp_path, saved, {}, image={"column": "image"}, id=None, text=None, labels={}))
    assert [row.id for row in rows] == ["train-0", "train-1"]


def test_an_image_without_its_bytes_is_a_finding(tmp_path):
    kind = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    (tmp_path / "a.png").write_bytes(picture(1))
    images = [{"bytes": None, "path": str(tmp_path / "a.png")}, None, IMAGES[2], {"bytes": None, "path": None}]
    made(ROWS | {"text": ["x"] * 4, "image": images}, mood=MOODS, image=kind).save_to_disk(tmp_path / "root" / "set")
    about = tmp_path / "root" / "set" / "dataset_info.json"
    info = json.loads(about.read_text())
    about.write_text(json.dumps(info | {"features": info["features"] | {"image": {"_type": "Image"}}}))
    rows = list(source_of(tmp_path / "root", SOURCE | {"image": {"column": "image"}}, TASKS).read("train"))
    assert (finding_of(rows, "image_missing").row, finding_of(rows, "image_missing").field) == (1, "image")
    assert [row.image and row.image() for row in rows if isinstance(row, Example)] == [None, picture(3), None]


def test_rows_that_were_selected_and_formatted(tmp_path):
    values = ROWS | {"text": ["x"] * 4, "image": IMAGES}
    saved = made(values, mood=MOODS, image=datasets.Image()).select([3, 0]).with_format("numpy")
    root = tmp_path / "root"
    saved.save_to_disk(root / "set")
    rows = examples_of(list(source_of(root, SOURCE | {"image": {"column": "image"}}, TASKS).read("train")))
    assert [(row.id, row.labels["mood"], row.image and row.image()) for row in rows] == [
        ("d", 0, picture(4)),
        ("a", 0, picture(1)),
    ]


def test_selected_rows_in_memory_of_the_hub(tmp_path, monkeypatch):
    values = made(ROWS | {"text": ["x"] * 4, "image": IMAGES}, mood=MOODS, image=datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: values.select([2, 2, 1]).with_format("numpy"))
    change = {"hub": "o/set", "revision": COMMIT, "folder": None, "image": {"column": "image"}}
    rows = list(source_of(tmp_path / "root", SOURCE | change, TASKS).read("train"))
    assert [row.id for row in rows] == ["c", "c", "b"]
    assert finding_of(rows, "id_repeated").row == 2
    assert isinstance(rows[0], Example)
    assert rows[0].image is not None
    assert rows[0].image() == picture(3)


def test_more_rows_than_are_looked_at_together(tmp_path):
    count = 600
    values = {"id": [str(n) for n in range(count)], "text": ["x"] * count, "mood": [n % 2 for n in range(count)]}
    images = [{"bytes": b"%d" % n, "path": None} if n % 3 else None for n in range(count)]
    saved = made(values | {"image": images}, mood=MOODS, image=datasets.Image())
    rows = examples_of(read(tmp_path, saved, image={"column": "image"}))
    assert [(row.id, row.labels["mood"]) for row in rows] == [(str(n), n % 2) for n in range(count)]
    assert [row.image and row.image() for row in rows] == [b"%d" % n if n % 3 else None for n in range(count)]


def test_splits_of_a_data_set_on_disk(tmp_path):
    saved = datasets.DatasetDict(
        {"train": made(ROWS, mood=MOODS), "dev": made({**ROWS, "text": ["x"] * 4}, mood=MOODS)}
    )
    rows = read(tmp_path, saved, splits={"train": "dev"})
    assert len(examples_of(rows)) == 4
    both = read(tmp_path, saved, splits={"train": ["train", "dev"]})
    assert [getattr(row, "reason", row.row) for row in both] == [1, 2, 3, "row_empty", *["id_repeated"] * 4]
    with pytest.raises(DataError, match="found no split 'test'; expected one of train, dev"):
        read(tmp_path, saved, splits={"train": "test"})


def test_a_data_set_without_splits_is_not_read_as_another_split(tmp_path):
    with pytest.raises(DataError, match="found no split 'test'; expected one of train"):
        read(tmp_path, made(ROWS, mood=MOODS), splits={"train": "test"})


def test_a_column_that_holds_no_images_is_an_error(tmp_path):
    with pytest.raises(DataError, match="expected the feature Image; or name `archive` or `folder`"):
        read(tmp_path, made(ROWS, mood=MOODS), image={"column": "text"})


def test_a_folder_that_is_no_data_set_is_an_error(tmp_path):
    (tmp_path / "root" / "set").mkdir()
    (tmp_path / "root" / "set" / "a.txt").write_text("a")
    with pytest.raises(DataError, match=r"cannot be opened by datasets .*; get the folder again"):
        list(source_of(tmp_path / "root", SOURCE, TASKS).read("train"))


def test_name_subset_and_revision_go_to_the_hub(tmp_path, monkeypatch):
    asked = []

    def load(*names: Any, **options: Any) -> datasets.DatasetDict:
        asked.append((names, options))
        return datasets.DatasetDict({"test": made(ROWS | {"text": ["x"] * 4}, mood=MOODS)})

    monkeypatch.setattr(datasets, "load_dataset", load)
    form = FORM | {"hub": "owner/set", "subset": "small", "revision": COMMIT, "splits": {"train": "test"}}
    source = source_of(tmp_path / "root", form, TASKS)
    assert source.files("train") == ()
    assert [row.file for row in examples_of(list(source.read("train")))] == ["owner/set"] * 4
    assert asked == [(("owner/set", "small"), {"revision": COMMIT})]
    other = source_of(tmp_path / "root", form | {"revision": COMMIT[::-1]}, TASKS)
    assert other.fingerprint("train") != source.fingerprint("train")
    copy = pickle.loads(pickle.dumps(source))
    assert len(list(copy.read("train"))) == 4
    assert len(asked) == 2


def test_an_image_of_the_hub_that_lies_in_its_cache(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(picture(7))
    images = [{"bytes": None, "path": str(tmp_path / "a.png")}, {"bytes": None, "path": "gone.png"}, None, None]
    saved = made(ROWS | {"text": ["x"] * 4, "image": images}, mood=MOODS, image=datasets.Image())
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: saved)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    form = FORM | {"hub": "o/s", "revision": COMMIT, "splits": {"train": "train"}, "image": {"column": "image"}}
    rows = list(source_of(tmp_path / "root", form, TASKS).read("train"))
    assert finding_of(rows, "image_missing").row == 2
    assert isinstance(rows[0], Example)
    assert rows[0].image is not None
    assert rows[0].image() == picture(7)
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match="the image of row 1 cannot be read"):
        rows[0].image()


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no route"),
        datasets.exceptions.DatasetNotFoundError("no such set"),
        datasets.exceptions.DatasetGenerationError("damaged"),
        ValueError("Unknown split"),
    ],
    ids=repr,
)
def test_a_hub_that_cannot_be_reached_says_what_to_do(tmp_path, monkeypatch, error):
    def load(*names: Any, **options: Any) -> None:
        raise error

    monkeypatch.setattr(datasets, "load_dataset", load)
    form = FORM | {"hub": "owner/set", "revision": COMMIT, "splits": {"train": "train"}}
    with pytest.raises(DataError, match="connect to the hub once") as caught:
        list(source_of(tmp_path / "root", form, TASKS).read("train"))
    assert str(error) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "expected one of `hub` and `folder`"),
        ({"hub": "a/b", "folder": "c"}, "expected one of `hub` and `folder`"),
        ({"hub": "a/b"}, "expected the `revision`"),
        ({"hub": "a/b", "revision": "main"}, "revision"),
    ],
)
def test_a_place_that_is_not_exact_is_refused(tmp_path, change, says):
    with pytest.raises(ConfigError, match=says):
        source_of(tmp_path / "root", FORM | {"splits": {"train": "train"}} | change, TASKS)
