"""CoNLL files: sentences, BIO tags, and that each unusable line is named."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_sets import examples_of, finding_of, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.conll import to_bio
from mmkd.data.findings import Finding

LABELS = ["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]
TASKS = {"ner": {"kind": "tag", "labels": LABELS}}
PIECES = [b"a\tO\n", b"b\tI-PER\n", b"c\n", b"\n", b"\t\n", b"\xff\tO\n", b"\r\n", b"\x0b\tO\n", b"d\tB-ORG\r\n"]
SOURCE = {"kind": "conll", "splits": {"train": "train.txt"}, "task": "ner"}


def rows_of(folder: Path, text: str | bytes, tasks: Any = None, **change: Any) -> list[Example | Finding]:
    root = folder / "root"
    root.mkdir(exist_ok=True)
    (root / "train.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    return list(source_of(root, SOURCE | change, tasks or TASKS).read("train"))


def read(folder: Path, text: str, tasks: Any = None, **change: Any) -> list[Example]:
    return examples_of(rows_of(folder, text, tasks, **change))


def tags(example: Example) -> list[str]:
    label = example.labels["ner"]
    assert isinstance(label, tuple)
    return [LABELS[index] for index in label]


def test_sentences_words_and_tags(tmp_path):
    first, second = read(tmp_path, "Acme\tB-ORG\nInc\tI-ORG\nfell\tO\n\t\n\n007\tO\nNA\tB-PER")
    assert (first.id, first.words, tags(first)) == ("train-0", ("Acme", "Inc", "fell"), ["B-ORG", "I-ORG", "O"])
    assert (second.id, second.words, tags(second)) == ("train-1", ("007", "NA"), ["O", "B-PER"])
    assert first.image is None


def test_words_keep_odd_spaces_and_line_ends_of_other_systems(tmp_path):
    (example,) = read(tmp_path, "\u00a0\tO\r\na\u2028b\tO\r\n\r\n")
    assert example.words == ("\u00a0", "a\u2028b")


def test_columns_and_separator(tmp_path):
    (example,) = read(tmp_path, "NNP Acme - B-ORG\nVBD fell - O\n", token=1, tag=3, separator=" ")
    assert example.words == ("Acme", "fell")
    assert tags(example) == ["B-ORG", "O"]


def test_lines_to_skip_end_a_sentence(tmp_path):
    text = "-DOCSTART-\tO\n\nIMGID:1\na\tO\nIMGID:2\nb\tO\n"
    examples = read(tmp_path, text, skip=["-DOCSTART-", "IMGID:"])
    assert [example.words for example in examples] == [("a",), ("b",)]
    # Then the ids are words, each the first of a sentence, without a tag.
    found = rows_of(tmp_path, text, skip=["-DOCSTART-"])
    assert finding_of(found, "row_unreadable").row == 3


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("O I-PER I-PER O I-PER", "O B-PER I-PER O B-PER"),
        ("I-PER I-ORG I-ORG", "B-PER B-ORG I-ORG"),
        ("B-PER I-PER B-PER I-ORG", "B-PER I-PER B-PER B-ORG"),
        ("B-PER B-PER O O", "B-PER B-PER O O"),
        ("", ""),
    ],
)
def test_to_bio(found, expected):
    assert to_bio(found.split()) == expected.split()


def test_io_files_become_bio(tmp_path):
    first, second = read(tmp_path, "a\tI-PER\nb\tI-PER\nc\tI-ORG\n\nd\tI-ORG\n", scheme="io")
    assert tags(first) == ["B-PER", "I-PER", "B-ORG"]
    assert tags(second) == ["B-ORG"]
    found = finding_of(rows_of(tmp_path, "a\tI-PER\nb\tB-PER\n", scheme="io"), "label_bio")
    assert (found.file, found.row, found.field) == ("train.txt", 2, "ner")
    assert "found the tag 'B-PER' at 'b'; expected O and I- tags" in found.message


def test_a_tag_that_continues_nothing_is_repaired_only_when_the_card_says_so(tmp_path):
    text = "a\tO\nb\tI-PER\nc\tI-PER\n"
    found = finding_of(rows_of(tmp_path, text), "label_bio")
    assert (found.file, found.row, found.field, found.id) == ("train.txt", 2, "ner", "train-0")
    assert "found the tag 'I-PER' at 'b'" in found.message
    assert "repair: true" in found.message
    (example,) = read(tmp_path, text, repair=True)
    assert tags(example) == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize(
    ("text", "line", "field", "reason", "says"),
    [
        ("a\tO\nb\tB-PRE\n", 2, "ner", "label_unknown", "found the tag 'B-PRE' at 'b'; expected one of O, B-ORG"),
        ("a\tO\nb\tB-PRE\n", 2, "ner", "label_unknown", "did you mean `B-PER`?"),
        ("a\tO\nb\n", 2, None, "row_unreadable", "found 'b'; expected 2 columns"),
        ("a\tO\nb\tc\tO\n", 2, None, "row_unreadable", "found 'b\\tc\\tO'; expected 2 columns"),
        ("a\tO\n\tO\n", 2, None, "row_unreadable", "found '\\tO'; expected 2 columns, the word in column 0"),
        ("a\n", 1, None, "row_unreadable", "found 'a'; expected 2 columns"),
        (b"a\tO\n\xff\tO\n", 2, None, "row_not_utf8", "found byte 0 that is not UTF-8"),
        ("a\tO\n" + "b" * 2**21 + "\tO\n", 2, None, "row_too_long", "more than 1,048,576 bytes"),
    ],
)
def test_an_unusable_line_is_named(tmp_path, text, line, field, reason, says):
    found = finding_of(rows_of(tmp_path, text), reason)
    assert (found.file, found.row, found.field, found.id) == ("train.txt", line, field, "train-0")
    assert says in found.message


def test_an_unusable_sentence_leaves_the_others_as_they_are(tmp_path):
    bad = ["a\tb\tO\n", "a\tO\nb\tI-PER\n", "a\tX\n", "a\tO\n\ufffdb\n"]
    good = "c\tB-PER\nd\tI-PER\n"
    text = "\n".join([bad[0], *(f"{each}\n{good}" for each in bad)])
    found = rows_of(tmp_path, text)
    reasons = [row.reason for row in found if isinstance(row, Finding)]
    assert reasons == ["row_unreadable", "row_unreadable", "label_bio", "label_unknown", "row_unreadable"]
    assert [row.id for row in found] == [f"train-{number}" for number in range(9)]
    assert {(row.words, tuple(tags(row))) for row in found if isinstance(row, Example)} == {
        (("c", "d"), ("B-PER", "I-PER"))
    }


def test_ids_and_documents(tmp_path):
    text = "-DOC-\n# id = 7 a\n# text = x\nx\tO\n\n# id = 007\n\nx\tO\n-DOC-\n# id = NA\ny\tO\n"
    form = {"id": "# id =", "skip": ["#"], "document": "-DOC-"}
    found = examples_of(rows_of(tmp_path, text, **form))
    assert [row.id for row in found] == ["7 a", "007", "NA"]
    assert [row.group for row in found] == ["train.txt#1", "train.txt#1", "train.txt#2"]
    assert [row.row for row in found] == [4, 8, 11]


def test_ids_that_are_missing_repeated_or_without_words_are_findings(tmp_path):
    text = b"x\tO\n\nID:1\nx\tO\n\nID:\nx\tO\n\nID:1\nx\tO\n\nID:2\nID:\xff\nx\tO\n\nID:3\nx\tO\nID:4\n"
    found = rows_of(tmp_path, text, id="ID:")
    assert [(row.id, row.row, row.reason) if isinstance(row, Finding) else row.id for row in found] == [
        (None, 1, "id_missing"),
        "1",
        (None, 7, "id_missing"),
        ("1", 10, "id_repeated"),
        ("2", 12, "row_empty"),
        (None, 14, "row_not_utf8"),
        "3",
        ("4", 18, "row_empty"),
    ]


def test_a_byte_order_mark_does_not_hide_the_first_mark(tmp_path):
    text = b"\xef\xbb\xbf-DOCSTART-\tO\n\nx\tO\n"
    (row,) = rows_of(tmp_path, text, encoding="utf-8-sig", skip=["-DOCSTART-"])
    assert isinstance(row, Example)
    assert row.words == ("x",)
    with pytest.raises(DataError, match="byte order mark"):
        rows_of(tmp_path, text, skip=["-DOCSTART-"])


def test_rows_of_transfer_have_no_labels(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "train.txt").write_text("a\tunknown\n")
    source = source_of(root, SOURCE | {"splits": {"transfer": "train.txt"}}, TASKS)
    (example,) = source.read("transfer")
    assert (example.id, dict(example.labels)) == ("transfer-0", {})


@pytest.mark.parametrize(
    "tasks",
    [
        {"other": TASKS["ner"]},
        {"ner": TASKS["ner"], "other": TASKS["ner"]},
        {"ner": {"kind": "classify", "labels": ["a", "b"]}},
    ],
)
def test_a_card_with_other_tasks_is_refused(tmp_path, tasks):
    with pytest.raises(DataError, match=r"mmkd\.source\.task: .*expected one task of the kind tag, named ner"):
        read(tmp_path, "", tasks)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | st.lists(st.sampled_from(PIECES)).map(b"".join))
def test_whatever_bytes_there_are_words_between_empty_lines_are_a_row(fuzzed, content):
    source, path = fuzzed
    path.write_bytes(content)
    blocks = itertools.groupby(content.split(b"\n"), lambda line: bool(line.strip()))
    try:
        rows = list(source.read("train"))
    except DataError:
        assert content.startswith(b"\xef\xbb\xbf")
    else:
        assert len(rows) == sum(words for words, _ in blocks)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz") / "root"
    root.mkdir()
    (root / "train.txt").write_text("")
    return source_of(root, SOURCE, TASKS), root / "train.txt"
