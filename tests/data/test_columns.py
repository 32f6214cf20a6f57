"""What all tables share: the same rows, written in every way, become the same examples and the same findings."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import (
    LINE_KINDS,
    LIST_KINDS,
    TABLE_KINDS,
    archive,
    examples_of,
    finding_of,
    picture,
    source_of,
    written,
)

from mmkd.config.problems import ConfigError
from mmkd.data.base import DataError, Example
from mmkd.data.findings import Finding

NFC, NFD = "caf\u00e9", "cafe\u0301"
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
ODD = ["007", "NA", "1e5", "null", "None", "nan", "true", "1.0", "-0", "0x10", "1_000", " leading", "trailing "]
ODD += [NFC, NFD, FAMILY, "\u05e9\u05dc\u05d5\u05dd", "\u202eabc", "a\u00a0b", "a\u2028b", "a\x85b", "a\x0bb", "a\x00b"]
ODD += ['a"b', '"a"', '""', "a,b", "a;b|c", "a\\nb", "'", "=1+1", "#", "\ufeffx", "Infinity", "z" * 200_000]
BROKEN = ["a\tb", "a\nb", "a\r\nb", "a\rb"]
"""Texts with line ends."""

FEW_KINDS = tuple(kind for kind in TABLE_KINDS if kind not in ("tsv", "hf_dict", "json_by_key"))

COLUMNS = ("id", "text", "mood", "group")
TASKS = {"mood": {"kind": "classify", "labels": ["sad", "happy"]}}
FORM: dict[str, Any] = {"id": "id", "text": "text", "group": "group", "labels": {"mood": {"column": "mood"}}}
GOOD = [
    {"id": "a", "text": "one two", "mood": "sad", "group": "g"},
    {"id": "b", "text": "three", "mood": "happy", "group": "g"},
    {"id": "c", "text": "four", "mood": "happy", "group": "h"},
    {"id": "d", "text": "five", "mood": "sad", "group": "h"},
]


def read(
    kind: str, folder: Path, rows: list[dict[str, Any]], form: dict[str, Any] = FORM, tasks: Any = None
) -> list[Example | Finding]:
    columns = tuple(dict.fromkeys(column for row in rows for column in row))
    source = written(kind, folder / "root", rows, columns) | form
    return list(source_of(folder / "root", source, tasks or TASKS).read("train"))


@pytest.mark.parametrize("kind", TABLE_KINDS)
def test_ids_words_labels_and_groups_keep_their_text(tmp_path, kind):
    # A line cannot hold these, and Python's writer does not quote the last one.
    odd = ODD + BROKEN[: {"lines": 0, "csv": -1}.get(kind, len(BROKEN))]
    rows = [{"id": text, "text": f"x {text}", "mood": text, "group": text} for text in odd]
    tasks = {"mood": {"kind": "classify", "labels": odd}}
    examples = examples_of(read(kind, tmp_path, rows, tasks=tasks))
    assert [example.id for example in examples] == odd
    assert [example.words for example in examples] == [tuple(f"x {text}".split()) for text in odd]
    assert [example.labels["mood"] for example in examples] == list(range(len(odd)))
    assert [example.group for example in examples] == odd
    assert len({example.id for example in examples if example.id in (NFC, NFD)}) == 2


@pytest.mark.parametrize("kind", ["parquet", "hf_dataset", "json", "jsonl"])
def test_numbers_become_their_digits(tmp_path, kind):
    rows = [{"id": 10**18 + n, "text": "x", "mood": n - 1, "group": 2.5} for n in range(3)]
    form = FORM | {"labels": {"mood": {"column": "mood", "values": {"-1": "sad", "0": "happy", "1": "sad"}}}}
    examples = examples_of(read(kind, tmp_path, rows, form))
    assert [example.id for example in examples] == ["1000000000000000000", "1000000000000000001", "1000000000000000002"]
    assert [example.labels["mood"] for example in examples] == [0, 1, 0]
    assert examples[0].group == "2.5"


@pytest.mark.parametrize("kind", ["parquet", "hf_dataset", "json", "jsonl"])
def test_truth_values_are_labels_and_nothing_else(tmp_path, kind):
    form = FORM | {"group": None, "labels": {"mood": {"column": "mood", "values": {"true": "sad", "false": "happy"}}}}
    rows = [{"id": "a", "text": "x", "mood": True}, {"id": "b", "text": "x", "mood": False}]
    assert [row.labels["mood"] for row in examples_of(read(kind, tmp_path, rows, form))] == [0, 1]
    found = finding_of(read(kind, tmp_path, [{"id": "a", "text": True, "mood": True}], form), "column_type")
    assert (found.field, found.message) == ("text", "found true; expected text")


BAD: list[tuple[dict[str, Any], tuple[str, str, str | None], str]] = [
    ({"id": ""}, ("id_missing", "id", None), "found ''; expected an id"),
    ({"id": " "}, ("id_missing", "id", None), "found ' '"),
    ({"id": "good-0"}, ("id_repeated", "id", "good-0"), "found 'good-0', which line"),
    ({"mood": "hapy"}, ("label_unknown", "mood", "bad-3"), "expected one of 'sad', 'happy'"),
    ({"mood": ""}, ("label_unknown", "mood", "bad-4"), "found ''"),
    ({"mood": " sad"}, ("label_unknown", "mood", "bad-5"), "found ' sad'"),
    ({"text": ""}, ("row_empty", "id", "bad-6"), "neither words nor an image"),
    ({"text": " \u00a0"}, ("row_empty", "id", "bad-7"), "neither words nor an image"),
]


@pytest.mark.parametrize("kind", FEW_KINDS)
def test_a_bad_row_is_one_finding_and_the_others_are_as_they_were(tmp_path, kind):
    rows = []
    for number, (change, _, _) in enumerate(BAD):
        row = {"id": f"bad-{number}", "text": "x", "mood": "sad", "group": ""}
        rows += [row | {"id": f"good-{number}", "text": f"word {number}"}, row | change]
    found = read(kind, tmp_path, rows)
    assert [(row.id, row.words, row.labels, row.group) for row in examples_of(found[::2])] == [
        (f"good-{number}", ("word", str(number)), {"mood": 0}, None) for number in range(len(BAD))
    ]
    header = kind in ("csv", "tsv")
    assert [row.row for row in found] == [number + 1 + header for number in range(len(rows))]
    for bad, (_, (reason, field, name), says) in zip(found[1::2], BAD, strict=True):
        assert isinstance(bad, Finding)
        assert (bad.reason, bad.field, bad.id, bad.split) == (reason, field, name, "train")
        assert bad.file is not None
        assert bad.file.startswith("rows")
        assert says in bad.message


@pytest.mark.parametrize("kind", FEW_KINDS)
def test_a_column_that_is_nowhere(tmp_path, kind):
    """Rows of a table all lack it, which is one mistake; objects lack it one by one."""
    form = FORM | {"text": "txt"}
    if kind.startswith("json"):
        rows = read(kind, tmp_path, GOOD, form)
        assert [(row.reason, row.field) for row in rows if isinstance(row, Finding)] == [("column_missing", "txt")] * 4
    else:
        with pytest.raises(DataError, match="did you mean `text`") as caught:
            read(kind, tmp_path, GOOD, form)
        assert caught.value.field == "txt"


@pytest.mark.parametrize("kind", LIST_KINDS)
def test_lists_and_nulls(tmp_path, kind):
    tasks = {
        "ner": {"kind": "tag", "labels": ["O", "B-X", "I-X"]},
        "topics": {"kind": "multilabel", "labels": ["p", "q"]},
    }
    form = {"id": "id", "words": "words", "labels": {"ner": {"column": "tags"}, "topics": {"column": "topics"}}}
    row = {"id": "a", "words": ["New York", "007"], "tags": ["B-X", "I-X"], "topics": ["q", "p"]}
    form["labels"]["topics"]["missing"] = [None]
    rows = [row, row | {"id": "b", "topics": []}, row | {"id": "c", "topics": None}]
    one, none, unlabelled = examples_of(read(kind, tmp_path / "good", rows, form, tasks))
    assert one.words == ("New York", "007")
    assert dict(one.labels) == {"ner": (1, 2), "topics": frozenset({0, 1})}
    assert dict(none.labels) == {"ner": (1, 2), "topics": frozenset()}
    assert dict(unlabelled.labels) == {"ner": (1, 2)}
    bad = {
        "word_empty": ("words", {"words": ["New York", "\u200a"]}),
        "label_count": ("tags", {"tags": ["B-X"]}),
        "label_bio": ("tags", {"tags": ["O", "I-X"]}),
        "label_unknown": ("topics", {"topics": ["r"]}),
        "column_type": ("words", {"words": None}),
        "id_missing": ("id", {"id": None}),
    }
    for reason, (field, change) in bad.items():
        found = finding_of(read(kind, tmp_path / reason, [row, row | {"id": "b"} | change], form, tasks), reason)
        assert (found.row, found.field, found.id) == (2, field, None if reason == "id_missing" else "b")


@pytest.mark.parametrize("kind", FEW_KINDS)
def test_labels_in_one_text_and_numbers(tmp_path, kind):
    tasks = {
        "topics": {"kind": "multilabel", "labels": ["p", "q", "r s"]},
        "score": {"kind": "regress", "range": [-2, 100_000]},
    }
    labels = {"topics": {"column": "topics", "separator": "|"}, "score": {"column": "score", "missing": [""]}}
    texts = [("p|q", "1e5"), ("", "-0.5"), ("r s | p", ""), ("q", " 7 ")]
    bad = [("p", "nan"), ("p", "inf"), ("p", "1e999"), ("p", "1_0"), ("p", "\u0661"), ("p", "x"), ("p", "100001")]
    bad += [("t", "1")]
    rows = [{"id": str(n), "text": "x", "topics": t, "score": s} for n, (t, s) in enumerate(texts + bad)]
    found = read(kind, tmp_path, rows, {"id": "id", "text": "text", "labels": labels}, tasks)
    assert [dict(row.labels) for row in examples_of(found[:4])] == [
        {"topics": frozenset({0, 1}), "score": 100_000.0},
        {"topics": frozenset(), "score": -0.5},
        {"topics": frozenset({2, 0})},
        {"topics": frozenset({1}), "score": 7.0},
    ]
    reasons = [(row.reason, row.field) for row in found[4:] if isinstance(row, Finding)]
    assert reasons == [("label_not_a_number", "score")] * 6 + [("label_unknown", "score"), ("label_unknown", "topics")]


@pytest.mark.parametrize("kind", FEW_KINDS)
def test_images_by_name(tmp_path, kind):
    (tmp_path / "root").mkdir()
    archive(tmp_path / "root" / "images.zip", {"a.png": picture(1), "d/b.png": picture(2)})
    rows = [row | {"image": name} for row, name in zip(GOOD, ["a.png", "none", "d/b.png", "x.png"], strict=True)]
    form = FORM | {"image": {"column": "image", "archive": "images.zip", "missing": ["none"]}}
    found = read(kind, tmp_path, rows, form)
    assert [row.image and row.image() for row in examples_of(found[:3])] == [picture(1), None, picture(2)]
    assert [row.image_name for row in examples_of(found[:3])] == ["a.png", None, "d/b.png"]
    assert finding_of(found, "image_missing").field == "image"
    found = read(kind, tmp_path, [rows[0], rows[1] | {"image": ""}], form)
    assert "expected the name of an image, or null" in finding_of(found, "column_type").message


@pytest.mark.parametrize("kind", FEW_KINDS)
def test_a_source_and_its_examples_travel_to_other_processes(tmp_path, kind):
    root = tmp_path / "root"
    source = source_of(root, written(kind, root, GOOD, COLUMNS) | FORM, TASKS)
    first = [(row.id, row.words, row.labels) for row in examples_of(list(source.read("train")))]
    copy = pickle.loads(pickle.dumps(source))
    assert [(row.id, row.words, row.labels) for row in examples_of(list(copy.read("train")))] == first
    assert copy.fingerprint("train") == source.fingerprint("train")


@pytest.mark.parametrize("kind", LINE_KINDS)
def test_lines_that_are_not_utf8_or_too_long_are_findings(tmp_path, kind):
    root = tmp_path / "root"
    source = written(kind, root, [*GOOD, {"id": "e", "text": "x " * 2**20, "mood": "sad", "group": "g"}], COLUMNS)
    path = root / source["splits"]["train"]
    path.write_bytes(path.read_bytes().replace(b"three", b"thr\xe9\xe9") + path.read_bytes().split(b"\n")[-3] + b"\n")
    rows = list(source_of(root, source | FORM, TASKS).read("train"))
    header = kind in ("csv", "tsv")
    found = [(row.reason, row.row) for row in rows if isinstance(row, Finding)]
    assert found == [("row_not_utf8", 2 + header), ("row_too_long", 5 + header), ("id_repeated", 6 + header)]
    assert [row.id for row in rows if isinstance(row, Example)] == ["a", "c", "d"]


@pytest.mark.parametrize("kind", LINE_KINDS)
def test_line_ends_of_other_systems_and_a_byte_order_mark(tmp_path, kind):
    root = tmp_path / "root"
    source = written(kind, root, GOOD, COLUMNS) | FORM
    path = root / source["splits"]["train"]
    first = [(row.id, row.words, row.labels) for row in examples_of(list(source_of(root, source, TASKS).read("train")))]
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    marked = source_of(root, source | {"encoding": "UTF-8-SIG"}, TASKS)
    assert [(row.id, row.words, row.labels) for row in examples_of(list(marked.read("train")))] == first
    with pytest.raises(DataError, match=r"byte order mark; .* set `encoding: utf-8-sig`"):
        list(source_of(root, source, TASKS).read("train"))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "shift_jis", "gb18030"])
def test_other_encodings(tmp_path, encoding):
    text = {"shift_jis": "\u30bd\u8868", "gb18030": "\u4e2d\U0001f600"}.get(encoding, "caf\u00e9")
    root = tmp_path / "root"
    source = written("csv", root, [GOOD[0] | {"text": text}], COLUMNS) | FORM | {"encoding": encoding}
    path = root / "rows.csv"
    path.write_bytes(path.read_text("utf-8").encode(encoding))
    (example,) = examples_of(list(source_of(root, source, TASKS).read("train")))
    assert example.words == (text,)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-7", "cp500", "rot13", "unicode_escape", "utf-88"])
def test_encodings_whose_lines_cannot_be_told_apart_are_refused(tmp_path, encoding):
    root = tmp_path / "root"
    with pytest.raises(ConfigError, match="an encoding that ASCII is part of"):
        source_of(root, written("csv", root, GOOD, COLUMNS) | FORM | {"encoding": encoding}, TASKS)


def test_half_a_character_in_an_id_or_a_group_is_a_finding(tmp_path):
    root = tmp_path / "root"
    source = written("jsonl", root, GOOD[:1], COLUMNS) | FORM
    for field in ("id", "group", "mood"):
        line = (root / "rows.jsonl").read_text().replace(f'"{field}": "', f'"{field}": "\\ud83d')
        (root / "rows.jsonl").write_text(line)
        rows = list(source_of(root, source, TASKS).read("train"))
        found = finding_of(rows, "label_unknown" if field == "mood" else "text_surrogate")
        assert found.field == field
        assert "\\ud83d" in found.message
        str(found).encode()
        source = written("jsonl", root, GOOD[:1], COLUMNS) | FORM
    line = json.dumps(GOOD[0] | {"text": ["\ud83d"]})
    (root / "rows.jsonl").write_text(line)
    found = finding_of(list(source_of(root, source, TASKS).read("train")), "column_type")
    assert "\\ud83d" in found.message
    str(found).encode()
