"""JSON Lines: what rows become, and that each unusable row is named with file, line and field."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_sets import archive, examples_of, finding_of, picture, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.card import CardError
from mmkd.data.findings import Finding

TASKS = {"mood": {"kind": "classify", "labels": ["sad", "happy"]}}
SOURCE: dict[str, Any] = {
    "kind": "jsonl",
    "splits": {"train": "rows.jsonl"},
    "id": "id",
    "text": "text",
    "image": {"column": "image", "archive": "images.zip"},
    "labels": {"mood": {"column": "mood"}},
}
PIECES = [b'{"id": "', b'1", "text": "', b'", "mood": "sad"}', b"\n", b"\r", b"\xff", b"[", b"\\ud83d", b"1e999", b"x"]
ROW = {"id": "007", "text": "a  dull day", "image": "a.png", "mood": "sad"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    archive(folder / "images.zip", {"a.png": picture(10), "b.webp": picture(20)})
    return folder


def read(root: Path, rows: list[Any], change: dict[str, Any] | None = None, tasks: Any = None) -> list[Example]:
    return examples_of(rows_of(root, rows, change, tasks))


def found_in(root: Path, rows: list[Any], reason: str, change: Any = None, tasks: Any = None) -> str:
    """The one finding among the rows, as `file:row: field: message`."""
    found = finding_of(rows_of(root, rows, change, tasks), reason)
    return ": ".join(part for part in (f"{found.file}:{found.row}", found.field, found.message) if part)


def rows_of(root: Path, rows: list[Any], change: Any = None, tasks: Any = None) -> list[Example | Finding]:
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
    found = found_in(root, [ROW | {"image": None, "text": " "}], "row_empty")
    assert found.startswith("rows.jsonl:1: id: row '007' has neither words nor an image")


def test_a_value_that_is_declared_missing_leaves_the_row_unlabelled(root):
    change = {"labels": {"mood": {"column": "mood", "missing": [None, "?"]}}}
    rows = [ROW, ROW | {"id": "8", "mood": None}, ROW | {"id": "9", "mood": "?"}]
    assert [dict(example.labels) for example in read(root, rows, change)] == [{"mood": 0}, {}, {}]
    found = found_in(root, rows[:2], "label_unknown")
    assert found.startswith("rows.jsonl:2: mood: found null; expected text")


def test_rows_of_transfer_have_no_labels(root):
    (root / "rows.jsonl").write_text(json.dumps(ROW | {"mood": "whatever"}) + "\n")
    source = source_of(root, SOURCE | {"splits": {"train": "rows.jsonl", "transfer": "rows.jsonl"}}, TASKS)
    (example,) = source.read("transfer")
    assert dict(example.labels) == {}


def test_a_label_in_a_list(root):
    change = {"labels": {"mood": {"column": "mood", "item": 1}}}
    (example,) = read(root, [ROW | {"mood": ["x", "happy"]}], change)
    assert example.labels["mood"] == 1
    found = found_in(root, [ROW | {"mood": ["x"]}], "column_type", change)
    assert found.startswith("rows.jsonl:1: mood: found 1 items; expected item 1")
    found = found_in(root, [ROW | {"mood": "x"}], "column_type", change)
    assert found.startswith('rows.jsonl:1: mood: found "x"; expected a list')


def test_a_list_that_ends_before_the_label_has_null_there(root):
    rows = [ROW | {"id": str(n), "mood": mood} for n, mood in enumerate([["x", "sad"], ["x"], [], ["x", None]])]
    column = {"column": "mood", "item": 1}
    labels = [dict(each.labels) for each in read(root, rows, {"labels": {"mood": column | {"missing": [None]}}})]
    assert labels == [{"mood": 0}, {}, {}, {}]
    # What else is missing says nothing of lists that are too short.
    found = found_in(root, rows[:2], "column_type", {"labels": {"mood": column | {"missing": ["x"]}}})
    assert found.startswith("rows.jsonl:2: mood: found 1 items; expected item 1, or null in the card's `missing`")


def test_labels_for_each_word(root):
    tasks = {"ner": {"kind": "tag", "labels": ["O", "B-ORG", "I-ORG"]}}
    change = {"text": None, "words": "words", "labels": {"ner": {"column": "tags"}}}
    row = {"id": "1", "words": ["New York", "Inc", "fell"], "tags": ["B-ORG", "I-ORG", "O"], "image": None}
    (example,) = read(root, [row], change, tasks)
    assert example.words == ("New York", "Inc", "fell")
    assert example.labels["ner"] == (1, 2, 0)
    for wrong, reason, says in (
        ({"tags": ["O", "O"]}, "label_count", "tags: found 2 labels; expected one for each of 3 words"),
        ({"tags": ["B-PER", "O", "O"]}, "label_unknown", "tags: found 'B-PER'; expected one of"),
        ({"tags": ["O", "I-ORG", "O"]}, "label_bio", "tags: found the tag 'I-ORG' at 'Inc', which continues no entity"),
        ({"words": ["New York", "", "fell"]}, "word_empty", "words: word 1 is empty"),
    ):
        assert found_in(root, [row | wrong], reason, change, tasks).startswith(f"rows.jsonl:1: {says}")
    change["labels"]["ner"]["repair"] = True
    (example,) = read(root, [row | {"tags": ["O", "I-ORG", "I-ORG"]}], change, tasks)
    assert example.labels["ner"] == (0, 1, 2)


@pytest.mark.parametrize(
    ("row", "reason", "says"),
    [
        ({"id": "8", "image": None, "mood": "sad"}, "column_missing", "text: found no such field"),
        (ROW | {"id": "8", "mood": "happpy"}, "label_unknown", "mood: found 'happpy'; expected one of 'sad', 'happy'"),
        (ROW | {"id": "8", "mood": "happpy"}, "label_unknown", "did you mean `happy`?"),
        (ROW | {"id": "8", "text": ["a"]}, "column_type", 'text: found ["a"]; expected text'),
        (ROW | {"id": "8", "text": True}, "column_type", "text: found true; expected text"),
        (ROW, "id_repeated", "id: found '007', which line 1 has too"),
        (ROW | {"id": ""}, "id_missing", "id: found ''"),
        (ROW | {"id": "8", "image": "c.png"}, "image_missing", "image: found no image 'c.png' in"),
        (ROW | {"id": "8", "image": "../a.png"}, "image_missing", "image: found no image '../a.png' in"),
        (ROW | {"id": "8", "image": ""}, "column_type", "image: found ''"),
        ("{", "row_unreadable", "Expecting property name"),
        ("", "row_unreadable", "Expecting value"),
        ("[1]", "row_unreadable", "found no JSON object"),
        ('{"id": "8", "id": "9"}', "row_unreadable", "found a field twice"),
        ("[" * 100_000, "row_unreadable", "is nested too deep"),
        ('{"id": "8", "x": ' + "[" * 100_000, "row_unreadable", "is nested too deep"),
        (ROW | {"id": "8", "text": json.loads("[" * 400 + "]" * 400)}, "column_type", "text: found "),
        ('{"id": "8"}{"id": "9"}', "row_unreadable", "Extra data"),
        ('{"id": "8", "text": "a\tb"}', "row_unreadable", "Invalid control character"),
    ],
)
def test_an_unusable_row_is_named(root, row, reason, says):
    found = found_in(root, [ROW, row, ROW | {"id": "good"}], reason)
    assert found.startswith("rows.jsonl:2: ")
    assert says in found


def test_a_missing_image_names_the_archive(root):
    assert "images.zip" in found_in(root, [ROW | {"image": "c.png"}], "image_missing")


def test_bytes_that_are_not_utf8_are_named(root):
    (root / "rows.jsonl").write_bytes(json.dumps(ROW).encode() + b'\n{"id": "\xff"}\n')
    found = finding_of(list(source_of(root, SOURCE, TASKS).read("train")), "row_not_utf8")
    assert (found.file, found.row) == ("rows.jsonl", 2)
    assert "found byte 8 that is not UTF-8" in found.message


def test_a_file_that_was_cut_has_one_bad_row(root):
    text = "".join(json.dumps(ROW | {"id": str(number)}) + "\n" for number in range(5))
    (root / "rows.jsonl").write_text(text[:-20])
    rows = list(source_of(root, SOURCE, TASKS).read("train"))
    assert finding_of(rows, "row_unreadable").row == 5
    assert [row.id for row in rows[:4]] == ["0", "1", "2", "3"]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_is_too_long_by_one_byte(root, end):
    """Also where the reader's buffer ends after carriage returns, which are then no line end."""
    source = None
    for extra in (0, 1, 2, 3, 2**20):
        line = json.dumps(ROW | {"text": "x"}).encode()
        line += b" " * (2**20 - len(line)) + b"\r" * extra
        (root / "rows.jsonl").write_bytes(line + end)
        source = source or source_of(root, SOURCE, TASKS)
        (row,) = source.read("train")
        fits = extra == 0 or (extra == 1 and end != b"\r\n")
        assert isinstance(row, Example) == fits, extra
        assert fits or row.reason == "row_too_long"


def test_the_suffix_replaces_the_ending(root):
    change = {"image": {"column": "image", "archive": "images.zip", "suffix": ".webp"}}
    (example,) = read(root, [ROW | {"image": "b.png"}], change)
    assert example.image is not None
    assert example.image() == picture(20)


def test_images_in_a_folder_stay_inside(root):
    (root / "images").mkdir()
    (root / "images" / "a.png").write_bytes(picture(30))
    (root / "secret.png").write_bytes(picture(1))
    (root / "images" / "link.png").symlink_to(root / "secret.png")
    (root / "images" / "loop.png").symlink_to(root / "images" / "loop.png")
    change = {"image": {"column": "image", "folder": "images"}}
    names = ["../secret.png", str(root / "secret.png"), "gone.png", "link.png", "loop.png", "a\0b", "x" * 5000, "."]
    rows = rows_of(root, [ROW, *(ROW | {"id": name, "image": name} for name in names)], change)
    (example,) = examples_of(rows[:1])
    assert example.image is not None
    assert example.image() == picture(30)
    found = [(row.reason, row.row, row.field) for row in rows[1:] if isinstance(row, Finding)]
    assert [reason for reason, _, _ in found] == ["image_missing"] * 7 + ["column_type"]
    assert [(row, field) for _, row, field in found] == [(number, "image") for number in range(2, 10)]


def test_images_of_all_sorts_are_part_of_the_fingerprint(root):
    (root / "images").mkdir()
    (root / "images" / "a.png").write_bytes(picture(30))
    (root / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    folder = SOURCE | {"image": {"column": "image", "folder": "images/"}}
    assert source_of(root, folder, TASKS).files("train") == ("rows.jsonl", "images/")
    assert source_of(root, SOURCE, TASKS).files("train") == ("rows.jsonl", "images.zip")
    first = [source_of(root, each, TASKS).fingerprint("train") for each in (folder, SOURCE)]
    (root / "images" / "a.png").write_bytes(picture(31))
    archive(root / "images.zip", {"a.png": picture(11)})
    second = [source_of(root, each, TASKS).fingerprint("train") for each in (folder, SOURCE)]
    assert len({*first, *second}) == 4


def test_an_archive_that_cannot_be_read_is_an_error(root):
    (root / "images.zip").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"images\.zip: cannot be read as a zip archive"):
        rows_of(root, [ROW])


def test_a_column_that_should_hold_images_and_holds_names(root):
    found = found_in(root, [ROW], "column_type", {"image": {"column": "image"}})
    assert 'found "a.png"; expected the bytes of an image; or name the `archive` or `folder`' in found


def test_a_split_that_the_card_lacks_is_named(root):
    (root / "rows.jsonl").write_text(json.dumps(ROW) + "\n")
    with pytest.raises(DataError, match="found no split 'test'; expected train"):
        list(source_of(root, SOURCE, TASKS).read("test"))


@pytest.mark.parametrize(
    ("labels", "tasks", "says"),
    [
        ({}, TASKS, "mmkd.source.labels: found []; expected the card's tasks, ['mood']"),
        ({"mood": {"column": "m", "values": {"1": "glad"}}}, TASKS, "mmkd.source.labels.mood.values: found the label"),
        ({"mood": {"column": "m", "values": {"1": "a"}}}, {"mood": {"kind": "regress"}}, "labels are numbers"),
        (
            {"mood": {"column": "m", "separator": ","}},
            TASKS,
            "mood.separator: found it for a task of the kind classify",
        ),
        ({"mood": {"column": "m", "repair": True}}, TASKS, "mood.repair: found it for a task of the kind classify"),
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
        ({"image": {"column": "image", "suffix": ".webp"}}, "found `suffix` without `archive` or `folder`"),
        ({"image": {"column": "i", "archive": "a.zip", "folder": "b"}}, "expected one of `archive` and `folder`"),
        ({"image": {"column": "i", "archive": "a.zip", "sufix": ".webp"}}, "did you mean `suffix`?"),
        ({"labels": {"mood": {"column": "m", "valus": {}}}}, "did you mean `values`?"),
    ],
)
def test_a_config_that_makes_no_sense_is_refused(root, change, says):
    with pytest.raises(CardError, match=r"mmkd\.source") as caught:
        source_of(root, SOURCE | change, TASKS)
    assert says in str(caught.value)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_whatever_bytes_there_are_a_line_is_a_row(fuzzed, content):
    source, path = fuzzed
    path.write_bytes(content)
    lines = content.split(b"\n")
    try:
        rows = list(source.read("train"))
    except DataError:
        assert content.startswith(b"\xef\xbb\xbf")
    else:
        assert [row.row for row in rows] == list(range(1, len(lines) + (lines[-1] != b"")))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz") / "root"
    root.mkdir()
    (root / "rows.jsonl").write_text("")
    return source_of(root, SOURCE | {"image": None}, TASKS), root / "rows.jsonl"
