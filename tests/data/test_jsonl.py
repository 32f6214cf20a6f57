"""JSON Lines: what rows become, and that each unusable row is named with file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import archive, picture, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.card import CardError

TASKS = {"mood": {"kind": "classify", "labels": ["sad", "happy"]}}
SOURCE: dict[str, Any] = {
    "kind": "jsonl",
    "splits": {"train": "rows.jsonl"},
    "id": "id",
    "text": "text",
    "image": {"column": "image", "archive": "images.zip"},
    "labels": {"mood": {"column": "mood"}},
}
ROW = {"id": "007", "text": "a  dull day", "image": "a.png", "mood": "sad"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    archive(folder / "images.zip", {"a.png": picture(10), "b.webp": picture(20)})
    return folder


def read(root: Path, rows: list[Any], change: dict[str, Any] | None = None, tasks: Any = None) -> list[Example]:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    (root / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    source = source_of(root, SOURCE | (change or {}), tasks or TASKS)
    return list(source.read("train"))


def test_a_row_becomes_words_image_and_label(root):
    (example,) = read(root, [ROW])
    assert (example.id, example.words, dict(example.labels)) == ("007", ("a", "dull", "day"), {"mood": 0})
    assert example.image is not None
    assert example.image() == picture(10)


def test_ids_words_and_labels_keep_their_text(root):
    rows = ['{"id": "NA", "text": "NA 007 1e3 null", "image": null, "mood": "1"}']
    rows += ['{"id": 7.10, "text": 12345678901234567890, "image": null, "mood": 1}']
    rows += ['{"id": "7.1", "text": "no\u2028t two\u00a0lines", "image": null, "mood": "NA"}']
    change = {"labels": {"mood": {"column": "mood", "values": {"1": "happy", "NA": "sad"}}}}
    examples = read(root, rows, change)
    assert [example.id for example in examples] == ["NA", "7.10", "7.1"]
    assert examples[0].words == ("NA", "007", "1e3", "null")
    assert examples[1].words == ("12345678901234567890",)
    assert [example.labels["mood"] for example in examples] == [1, 1, 0]


def test_a_row_may_lack_a_modality_but_not_both(root):
    no_image, no_text = read(root, [ROW | {"image": None}, ROW | {"id": "8", "text": None}])
    assert no_image.image is None
    assert no_text.words == ()
    with pytest.raises(DataError, match=r"rows\.jsonl:1: id: row '007' has neither words nor an image"):
        read(root, [ROW | {"image": None, "text": " "}])


def test_a_value_that_is_declared_missing_leaves_the_row_unlabelled(root):
    change = {"labels": {"mood": {"column": "mood", "missing": [None, "?"]}}}
    rows = [ROW, ROW | {"id": "8", "mood": None}, ROW | {"id": "9", "mood": "?"}]
    assert [dict(example.labels) for example in read(root, rows, change)] == [{"mood": 0}, {}, {}]
    with pytest.raises(DataError, match=r"rows\.jsonl:2: mood: found null; expected text"):
        read(root, rows)


def test_rows_of_transfer_have_no_labels(root):
    (root / "rows.jsonl").write_text(json.dumps(ROW | {"mood": "whatever"}) + "\n")
    source = source_of(root, SOURCE | {"splits": {"train": "rows.jsonl", "transfer": "rows.jsonl"}}, TASKS)
    (example,) = source.read("transfer")
    assert dict(example.labels) == {}


def test_a_label_in_a_list(root):
    change = {"labels": {"mood": {"column": "mood", "item": 1}}}
    (example,) = read(root, [ROW | {"mood": ["x", "happy"]}], change)
    assert example.labels["mood"] == 1
    with pytest.raises(DataError, match=r"rows\.jsonl:1: mood: found 1 items; expected item 1"):
        read(root, [ROW | {"mood": ["x"]}], change)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: mood: found \"x\"; expected a list"):
        read(root, [ROW | {"mood": "x"}], change)


def test_labels_for_each_word(root):
    tasks = {"ner": {"kind": "tag", "labels": ["O", "B-ORG", "I-ORG"]}}
    change = {"text": None, "words": "words", "labels": {"ner": {"column": "tags"}}}
    row = {"id": "1", "words": ["New York", "Inc", "fell"], "tags": ["B-ORG", "I-ORG", "O"], "image": None}
    (example,) = read(root, [row], change, tasks)
    assert example.words == ("New York", "Inc", "fell")
    assert example.labels["ner"] == (1, 2, 0)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: tags: found 2 labels; expected one for each of 3 words"):
        read(root, [row | {"tags": ["O", "O"]}], change, tasks)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: tags: found 'B-PER'; expected one of"):
        read(root, [row | {"tags": ["B-PER", "O", "O"]}], change, tasks)
    with pytest.raises(DataError, match=r"rows\.jsonl:1: words: word 1 is empty"):
        read(root, [row | {"words": ["New York", "", "fell"]}], change, tasks)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"id": "8", "image": None, "mood": "sad"}, "rows.jsonl:2: text: found no such field"),
        (ROW | {"id": "8", "mood": "happpy"}, "rows.jsonl:2: mood: found 'happpy'; expected one of 'sad', 'happy'"),
        (ROW | {"id": "8", "mood": "happpy"}, "did you mean `happy`?"),
        (ROW | {"id": "8", "text": ["a"]}, 'rows.jsonl:2: text: found ["a"]; expected text'),
        (ROW | {"id": "8", "text": True}, "rows.jsonl:2: text: found true; expected text"),
        (ROW, "rows.jsonl:2: id: found '007', which line 1 has too"),
        (ROW | {"id": ""}, "rows.jsonl:2: id: found ''"),
        (ROW | {"id": "8", "image": "c.png"}, "rows.jsonl:2: image: found no image 'c.png' in"),
        (ROW | {"id": "8", "image": "../a.png"}, "rows.jsonl:2: image: found no image '../a.png' in"),
        (ROW | {"id": "8", "image": ""}, "rows.jsonl:2: image: found ''"),
        ("{", "rows.jsonl:2: Expecting property name"),
        ("", "rows.jsonl:2: Expecting value"),
        ("[1]", "rows.jsonl:2: found no JSON object"),
        ('{"id": "8", "id": "9"}', "rows.jsonl:2: found a field twice"),
    ],
)
def test_an_unusable_row_is_named(root, row, says):
    with pytest.raises(DataError) as caught:
        read(root, [ROW, row])
    assert says in str(caught.value)
    assert caught.value.row == 2


def test_a_missing_image_names_the_archive(root):
    with pytest.raises(DataError, match=r"images\.zip"):
        read(root, [ROW | {"image": "c.png"}])


def test_bytes_that_are_not_utf8_are_named(root):
    (root / "rows.jsonl").write_bytes(json.dumps(ROW).encode() + b'\n{"id": "\xff"}\n')
    source = source_of(root, SOURCE, TASKS)
    with pytest.raises(DataError, match=r"rows\.jsonl:2: found byte 8 that is not UTF-8"):
        list(source.read("train"))


def test_the_suffix_replaces_the_ending(root):
    change = {"image": {"column": "image", "archive": "images.zip", "suffix": ".webp"}}
    (example,) = read(root, [ROW | {"image": "b.png"}], change)
    assert example.image is not None
    assert example.image() == picture(20)


def test_images_in_a_folder_are_all_listed_and_stay_inside(root):
    (root / "images").mkdir()
    (root / "images" / "a.png").write_bytes(picture(30))
    change = {"image": {"column": "image", "folder": "images"}}
    (example,) = read(root, [ROW], change)
    assert example.image is not None
    assert example.image() == picture(30)
    source = source_of(root, SOURCE | change, TASKS)
    assert source.files("train") == ("rows.jsonl", "images/a.png")
    first = source.fingerprint("train")
    (root / "images" / "a.png").write_bytes(picture(31))
    assert source.fingerprint("train") != first
    (root / "secret.png").write_bytes(picture(1))
    for name in ("../secret.png", str(root / "secret.png"), "gone.png"):
        with pytest.raises(DataError) as caught:
            list(_without_listing_check(root, ROW | {"image": name}, change))
        assert (caught.value.row, caught.value.field) == (1, "image")


def _without_listing_check(root: Path, row: dict[str, Any], change: dict[str, Any]) -> Any:
    """The row's image would be refused as unlisted first; what is meant here is the reading itself."""
    (root / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    source = source_of(root, SOURCE | change, TASKS)
    (root / "rows.jsonl").write_text(json.dumps(row) + "\n")
    return source.read("train")


def test_the_archive_is_part_of_the_fingerprint(root):
    (root / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    source = source_of(root, SOURCE, TASKS)
    first = source.fingerprint("train")
    archive(root / "images.zip", {"a.png": picture(11)})
    assert source.fingerprint("train") != first


def test_a_split_that_the_card_lacks_is_named(root):
    (root / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    with pytest.raises(DataError, match="found no split 'test'; expected train"):
        list(source_of(root, SOURCE, TASKS).read("test"))


@pytest.mark.parametrize(
    ("labels", "tasks", "says"),
    [
        ({}, TASKS, "mmkd.source.labels: found []; expected the card's tasks, ['mood']"),
        ({"mood": {"column": "m", "values": {"1": "glad"}}}, TASKS, "mmkd.source.labels.mood.values: found the label"),
        ({"mood": {"column": "m"}}, {"mood": {"kind": "regress"}}, "found regress"),
    ],
)
def test_labels_that_do_not_fit_the_card_are_named(root, labels, tasks, says):
    (root / "rows.jsonl").write_text("")
    with pytest.raises(DataError) as caught:
        source_of(root, SOURCE | {"labels": labels}, tasks)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"words": "words"}, "found both `text` and `words`"),
        ({"text": None, "image": None}, "expected at least one of"),
        ({"image": {"column": "image"}}, "expected one of `archive` and `folder`"),
        ({"image": {"column": "i", "archive": "a.zip", "folder": "b"}}, "expected one of `archive` and `folder`"),
        ({"image": {"column": "i", "archive": "a.zip", "sufix": ".webp"}}, "did you mean `suffix`?"),
        ({"labels": {"mood": {"column": "m", "valus": {}}}}, "did you mean `values`?"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(root, change, says):
    with pytest.raises(CardError, match=r"mmkd\.source") as caught:
        source_of(root, SOURCE | change, TASKS)
    assert says in str(caught.value)
