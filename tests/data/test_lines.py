"""Lines of text: patterns, files side by side, and lines that fit neither."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_sets import examples_of, finding_of, source_of

from mmkd.config.problems import ConfigError
from mmkd.data.base import DataError, Example
from mmkd.data.findings import Finding

TASKS = {"mood": {"kind": "classify", "labels": ["0", "1"]}}
SOURCE: dict[str, Any] = {
    "kind": "lines",
    "splits": {"train": "text.txt"},
    "id": None,
    "text": "text",
    "beside": {"mood": {"train": "moods.txt"}},
    "labels": {"mood": {"column": "mood"}},
}
PATTERN: dict[str, Any] = {"beside": {}, "pattern": r"(?P<text>.*)@(?P<mood>[^@]*)"}


def read(folder: Path, text: bytes, moods: bytes = b"", **change: Any) -> list[Example | Finding]:
    (folder / "root").mkdir(exist_ok=True)
    (folder / "root" / "text.txt").write_bytes(text)
    (folder / "root" / "moods.txt").write_bytes(moods)
    return list(source_of(folder / "root", SOURCE | change, TASKS).read("train"))


def test_files_side_by_side(tmp_path):
    rows = examples_of(read(tmp_path, b"one two\r\nthree\x0bfour\n", b"1\r\n0"))
    assert [(row.id, row.words, row.labels["mood"]) for row in rows] == [
        ("train-0", ("one", "two"), 1),
        ("train-1", ("three", "four"), 0),
    ]
    assert source_of(tmp_path / "root", SOURCE, TASKS).files("train") == ("text.txt", "moods.txt")


def test_values_beside_keep_their_spaces(tmp_path):
    assert "found ' 1'" in finding_of(read(tmp_path, b"x\n", b" 1\n"), "label_unknown").message


def test_a_pattern(tmp_path):
    rows = examples_of(read(tmp_path, "Profit @ fell@0\nx\u2028y@1\n".encode("latin-1", "ignore"), **PATTERN))
    assert [(row.words, row.labels["mood"]) for row in rows] == [(("Profit", "@", "fell"), 0), (("xy",), 1)]


@pytest.mark.parametrize(("text", "moods"), [(b"a\nb\n", b"0\n"), (b"a\n", b"0\n1\n"), (b"a\n", b"0\n\n")])
def test_files_of_different_length_are_an_error(tmp_path, text, moods):
    with pytest.raises(DataError, match=r"text\.txt, moods\.txt have not as many lines"):
        read(tmp_path, text, moods)


@pytest.mark.parametrize(
    ("line", "mood", "reason", "file", "field"),
    [
        (b"", b"0", "row_empty", "text.txt", None),
        (b"\xff", b"0", "row_not_utf8", "text.txt", None),
        (b"x", b"\xff", "row_not_utf8", "moods.txt", None),
        (b"x" * 2**21, b"0", "row_too_long", "text.txt", None),
        (b"x", b"", "label_unknown", "text.txt", "mood"),
    ],
)
def test_a_bad_line_between_good_ones(tmp_path, line, mood, reason, file, field):
    rows = read(tmp_path, b"a\n" + line + b"\nc\n", b"0\n" + mood + b"\n1\n")
    found = finding_of(rows, reason)
    assert (found.file, found.row, found.field) == (file, 2, field)
    assert [(row.id, row.words) for row in (rows[0], rows[2]) if isinstance(row, Example)] == [
        ("train-0", ("a",)),
        ("train-2", ("c",)),
    ]


def test_a_line_without_the_pattern(tmp_path):
    found = finding_of(read(tmp_path, b"a@0\nb\nc@1\n", **PATTERN), "row_unreadable")
    assert found.row == 2
    assert 'found "b"; expected a line of the card\'s pattern' in found.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"pattern": "("}, "found no regular expression"),
        ({"pattern": ".*"}, "expected at least one named group"),
        ({"pattern": "(?P<mood>.*)"}, "found the column 'mood' in `pattern` and in `beside`"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(tmp_path, change, says):
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, b"", **change)
    assert says in str(caught.value)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=60) | st.lists(st.sampled_from([b"x", b"@", b"0", b"\r", b"\n", b"\xff"])).map(b"".join))
def test_whatever_bytes_there_are_a_line_is_a_row(fuzzed, text):
    source, path = fuzzed
    path.write_bytes(text)
    lines = text.split(b"\n")
    try:
        rows = list(source.read("train"))
    except DataError:
        assert text.startswith(b"\xef\xbb\xbf")
    else:
        assert len(rows) == len(lines) - (lines[-1] == b"")


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz") / "root"
    root.mkdir()
    (root / "text.txt").write_text("")
    return source_of(root, SOURCE | PATTERN, TASKS), root / "text.txt"
