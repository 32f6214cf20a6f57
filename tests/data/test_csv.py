"""CSV: quotes, line ends, headers, and that an open quote costs one row."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_sets import examples_of, finding_of, source_of

from mmkd.config.problems import ConfigError
from mmkd.data.base import DataError, Example
from mmkd.data.findings import Finding

TASKS = {"mood": {"kind": "classify", "labels": ["sad", "happy"]}}
SOURCE: dict[str, Any] = {
    "kind": "csv",
    "splits": {"train": "rows.csv"},
    "id": "id",
    "text": "text",
    "labels": {"mood": {"column": "mood"}},
}


def read(folder: Path, content: str | bytes, **change: Any) -> list[Example | Finding]:
    (folder / "root").mkdir(exist_ok=True)
    (folder / "root" / "rows.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return list(source_of(folder / "root", SOURCE | change, TASKS).read("train"))


def short(rows: list[Example | Finding]) -> list[tuple[int | None, str]]:
    """The line of each row, and its id or what is wrong with it."""
    return [(row.row, row.id if isinstance(row, Example) else row.reason) for row in rows]


def test_cells_with_quotes_separators_and_line_ends(tmp_path):
    text = 'id,text,mood\n"a,""b""","one\ntwo\r\n\nthree",sad\n007, x ,happy\nNA,".",sad\n'
    first, second, third = examples_of(read(tmp_path, text))
    assert (first.id, first.words, first.row) == ('a,"b"', ("one", "two", "three"), 2)
    assert (second.id, second.words, second.row) == ("007", ("x",), 6)
    assert (third.id, third.row) == ("NA", 7)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_empty_lines_are_no_rows(tmp_path, end, last):
    lines = ["", "id,text,mood", "", "a,x,sad", "", "", "b,x,sad"]
    rows = read(tmp_path, end.join(lines) + end * last)
    assert short(rows) == [(4, "a"), (7, "b")]


def test_a_quote_that_is_not_closed_costs_its_own_row(tmp_path):
    text = 'id,text,mood\na,x,sad\nb,"open,sad\nc,x,happy\nd,"y, z",sad\ne,x,sad\n'
    rows = read(tmp_path, text)
    assert short(rows) == [(2, "a"), (3, "row_unreadable"), (4, "c"), (5, "d"), (6, "e")]
    assert "a quote that opens is closed" in finding_of(rows, "row_unreadable").message
    # The same where no other quote follows, and where the file is longer than a row can be.
    assert short(read(tmp_path, 'id,text,mood\na,"open,sad\nb,x,sad\n')) == [(2, "row_unreadable"), (3, "b")]
    many = "".join(f"{number},word,sad\n" for number in range(90_000))
    rows = read(tmp_path, f'id,text,mood\na,"open,sad\n{many}')
    assert len(rows) == 90_001
    assert short(rows[:2]) == [(2, "row_too_long"), (3, "0")]
    assert len(examples_of(rows[1:])) == 90_000


def test_many_open_quotes(tmp_path):
    text = "".join(f'{number},"open,sad\n' if number % 2 else f"{number},x,sad\n" for number in range(1000))
    rows = read(tmp_path, f"id,text,mood\n{text}")
    assert [row.row for row in rows] == list(range(2, 1002))
    assert [isinstance(row, Finding) for row in rows] == [False, True] * 500


@pytest.mark.parametrize(
    ("line", "reason", "says"),
    [
        ("b,x", "row_unreadable", "found 2 cells; expected 3: id, text, mood"),
        ("b,x,sad,more", "row_unreadable", "found 4 cells; expected 3"),
        ('b,"x"y,sad', "row_unreadable", "',' expected after '\"'"),
        ("b,x\ry,sad", "row_unreadable", "new-line character seen in unquoted field"),
        (b"b,\xff,sad", "row_not_utf8", "found byte 2 that is not UTF-8"),
        (b'b,"\xff\ny",sad', "row_not_utf8", "found byte 3 that is not UTF-8"),
        ("b," + "x" * 2**21 + ",sad", "row_too_long", "more than 1,048,576 bytes"),
        ('b,"' + "x" * 2**21, "row_too_long", "more than 1,048,576 bytes"),
        ("b,x,\0", "label_unknown", "found '\\x00'"),
    ],
)
def test_a_bad_row_between_good_ones(tmp_path, line, reason, says):
    line = line.encode() if isinstance(line, str) else line
    rows = read(tmp_path, b"id,text,mood\na,x,sad\n" + line + b"\nc,y,happy\n")
    assert says in finding_of(rows, reason).message
    assert short(rows)[:2] == [(2, "a"), (3, reason)]
    assert isinstance(rows[2], Example)
    assert (rows[2].id, rows[2].words, dict(rows[2].labels)) == ("c", ("y",), {"mood": 1})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "found no line; expected a header"),
        ("\n\n", "found no line; expected a header"),
        ("id,text,text,mood\n", "found the column 'text' twice"),
        ("id,text,moood\n", "found no column 'mood'; expected one of id, text, moood; did you mean `moood`?"),
        (b"id,text,mood\xff\n", "rows.csv:1: found byte 12 that is not UTF-8"),
        ('id,"text,mood\n', "expected a header"),
        ("id,text,mood\rb,x,sad\r", "expected a header"),
    ],
)
def test_a_header_that_cannot_be_used_is_an_error(tmp_path, content, says):
    with pytest.raises(DataError) as caught:
        read(tmp_path, content)
    assert says in str(caught.value)
    assert "rows.csv" in str(caught.value)


def test_names_of_columns_by_the_card(tmp_path):
    columns = ["id", "text", "mood"]
    assert short(read(tmp_path, "a,x,sad\n", header=False, columns=columns)) == [(1, "a")]
    assert short(read(tmp_path, "A,A,A\na,x,sad\n", columns=columns)) == [(2, "a")]
    assert short(read(tmp_path, "", header=False, columns=columns)) == []
    # Some files lack a name in their header; it is the rows that must have as many cells as there are columns.
    assert short(read(tmp_path, "A,B\na,x,sad\nb,x\n", columns=columns)) == [(2, "a"), (3, "row_unreadable")]
    with pytest.raises(DataError, match="found no column 'mood'"):
        read(tmp_path, "a,x\n", header=False, columns=["id", "text"])


def test_quotes_that_are_plain_text(tmp_path):
    rows = read(tmp_path, 'id\ttext\tmood\n"a\t"x "y\tsad\nb\t5"\thappy\n', separator="\t", quote=None)
    assert [(row.id, row.words) for row in examples_of(rows)] == [('"a', ('"x', '"y')), ("b", ('5"',))]
    rows = read(tmp_path, "id;text;mood\n'a;b';x;sad\n", separator=";", quote="'")
    assert short(rows) == [(2, "a;b")]


def test_two_files_each_with_a_header(tmp_path):
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "more.csv").write_text("mood,text,id\nsad,x,a\nsad,x,b\n")
    rows = read(tmp_path, "id,text,mood\na,x,sad\n", splits={"train": ["rows.csv", "more.csv"]})
    assert short(rows) == [(2, "a"), (2, "id_repeated"), (3, "b")]
    found = finding_of(rows, "id_repeated")
    assert found.file == "more.csv"
    assert "which rows.csv:2 has too" in found.message


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"separator": ",,"}, "separator"),
        ({"separator": "\n"}, "separator"),
        ({"quote": ","}, "found the same character for `quote` and `separator`"),
        ({"header": False}, "expected `columns`, since the files have no header"),
    ],
)
def test_a_form_that_makes_no_sense_is_refused(tmp_path, change, says):
    with pytest.raises(ConfigError, match=says):
        read(tmp_path, "id,text,mood\n", **change)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.lists(st.sampled_from([b"a", b",", b'"', b" ", b"\xff", b"\xc3\xa9", b"\r", b"\0"]))))
def test_whatever_bytes_there_are_nothing_is_lost_and_nothing_raises(fuzzed, lines):
    source, path = fuzzed
    content = [b"".join(line) for line in lines]
    path.write_bytes(b"id,text,mood\n" + b"\n".join(content))
    rows = list(source.read("train"))
    if not any(b'"' in line for line in content):
        # Without quotes a row is a line, and lines without anything are none.
        assert [row.row for row in rows] == [number for number, line in enumerate(content, 2) if line.strip(b"\r")]
    assert [row.row for row in rows] == sorted({row.row for row in rows})


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz") / "root"
    root.mkdir()
    (root / "rows.csv").write_text("")
    return source_of(root, SOURCE, TASKS), root / "rows.csv"
