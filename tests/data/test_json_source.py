"""JSON documents: lists, objects by key, lists inside objects, and what makes a row or a document unusable."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_sets import examples_of, finding_of, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.findings import Finding

TASKS = {"mood": {"kind": "classify", "labels": ["sad", "happy"]}}
SOURCE: dict[str, Any] = {
    "kind": "json",
    "splits": {"train": "rows.json"},
    "id": "id",
    "text": "text",
    "labels": {"mood": {"column": "mood"}},
}
PIECES = [b"[", b"]", b"{", b"}", b",", b'"id":', b'"text":', b'"a"', b"1", b"null", b"NaN", b"\xff"]
ROW = {"id": "a", "text": "x", "mood": "sad"}


def read(folder: Path, content: Any, **change: Any) -> list[Example | Finding]:
    (folder / "root").mkdir(exist_ok=True)
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    (folder / "root" / "rows.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(source_of(folder / "root", SOURCE | change, TASKS).read("train"))


def test_the_key_of_an_object_may_be_its_id(tmp_path):
    rows = {"007": {"text": "x", "mood": "sad"}, "7": {"text": "y", "mood": "happy"}}
    found = examples_of(read(tmp_path, rows, id="key"))
    assert [(row.id, row.words, row.labels["mood"], row.row) for row in found] == [
        ("007", ("x",), 0, 1),
        ("7", ("y",), 1, 2),
    ]


def test_a_key_that_is_there_twice_is_a_row_of_its_own(tmp_path):
    text = '{"1": {"text": "x", "mood": "sad"}, "2": {"text": "y", "mood": "sad"}, "1": {"text": "z", "mood": "sad"}}'
    rows = read(tmp_path, text, id="key")
    assert [row.id for row in rows] == ["1", "2", "1"]
    assert finding_of(rows, "id_repeated").row == 3


def test_rows_within_objects(tmp_path):
    document = [
        {"post": 7.10, "title": "t", "spans": [{"text": "x", "mood": "sad"}, {"text": "y", "mood": "happy"}]},
        {"post": 8, "title": "u", "spans": []},
        {"post": 9, "title": "v", "spans": [{"text": "z", "mood": "sad"}]},
    ]
    form = {"each": "spans", "id": None, "text": ["title", "spans.text"], "group": "post"}
    form["labels"] = {"mood": {"column": "spans.mood"}}
    found = examples_of(read(tmp_path, json.dumps(document).replace("7.1", "7.10"), **form))
    assert [(row.id, row.words, row.labels["mood"], row.group, row.row) for row in found] == [
        ("train-0", ("t", "x"), 0, "7.10", 1),
        ("train-1", ("t", "y"), 1, "7.10", 1),
        ("train-2", ("v", "z"), 0, "9", 3),
    ]
    numbered = examples_of(read(tmp_path, document, **form | {"text": "spans.number"}))
    assert [row.words for row in numbered] == [("0",), ("1",), ("0",)]
    twice = read(tmp_path, document, **form | {"id": "post"})
    assert (finding_of(twice, "id_repeated").row, len(twice)) == (1, 3)


@pytest.mark.parametrize(
    ("bad", "reason", "field"),
    [
        ("7", "row_unreadable", None),
        ("null", "row_unreadable", None),
        ("[]", "row_unreadable", None),
        ('{"id": "b", "text": "x", "mood": "sad", "id": "c"}', "row_unreadable", None),
        ('{"id": "b", "text": {"t": 1, "t": 2}, "mood": "sad"}', "column_type", "text"),
        ('{"id": "b", "text": "x"}', "column_missing", "mood"),
        ('{"id": "b", "text": "x", "mood": null}', "label_unknown", "mood"),
    ],
)
def test_a_bad_row_between_good_ones(tmp_path, bad, reason, field):
    rows = read(tmp_path, f"[{json.dumps(ROW)}, {bad}, {json.dumps(ROW | {'id': 'z'})}]")
    found = finding_of(rows, reason)
    assert (found.file, found.row, found.field) == ("rows.json", 2, field)
    assert ("found a field twice among id, text, mood, id" in found.message) == ('"c"' in bad)
    assert [(row.id, row.words) for row in (rows[0], rows[2]) if isinstance(row, Example)] == [
        ("a", ("x",)),
        ("z", ("x",)),
    ]


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ("x", "column_type"),
        (None, "column_type"),
        ([{"text": "x", "mood": "sad"}, 7], "row_unreadable"),
        ([{"number": 3, "text": "x", "mood": "sad"}], "row_unreadable"),
    ],
)
def test_bad_lists_of_rows_are_one_finding(tmp_path, spans, reason):
    form = {"each": "spans", "id": None, "text": "spans.text", "labels": {"mood": {"column": "spans.mood"}}}
    good = {"spans": [{"text": "x", "mood": "sad"}]}
    rows = read(tmp_path, [good, {"spans": spans}, good], **form)
    assert finding_of(rows, reason).row == 2
    assert len(rows) == 3


def test_a_field_that_would_hide_the_key_is_a_finding(tmp_path):
    rows = read(tmp_path, {"1": ROW | {"key": "2"}}, id="key")
    assert finding_of(rows, "row_unreadable").field == "key"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "Expecting value"),
        ("7", "found neither a list nor an object"),
        ("[{}", "expected one JSON document"),
        ("[" * 100_000, "is nested too deep"),
        (b'[{"id": "\xff"}]', "found byte 9 that is not UTF-8"),
        (b"\xef\xbb\xbf[]", "byte order mark"),
    ],
)
def test_a_document_that_cannot_be_read_is_an_error(tmp_path, content, says):
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert says in str(caught.value)
    assert "rows.json" in str(caught.value)


def test_a_byte_order_mark_that_the_card_names(tmp_path):
    assert [row.id for row in read(tmp_path, b"\xef\xbb\xbf" + json.dumps([ROW]).encode(), encoding="utf-8-sig")] == [
        "a"
    ]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_whatever_bytes_there_are_nothing_else_is_raised(fuzzed, content):
    source, path = fuzzed
    path.write_bytes(content)
    try:
        rows = list(source.read("train"))
    except DataError:
        return
    document = json.loads(content)
    # A doubled key is a row of its own, which Python's reader drops.
    assert len(rows) == len(document) or (isinstance(document, dict) and len(rows) > len(document))


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz") / "root"
    root.mkdir()
    (root / "rows.json").write_text("")
    return source_of(root, SOURCE, TASKS), root / "rows.json"
