"""CoNLL files: sentences, BIO tags, and that each unusable line is named."""

from pathlib import Path
from typing import Any

import pytest
from tiny_sets import source_of

from mmkd.data.base import DataError, Example
from mmkd.data.conll import to_bio

LABELS = ["O", "B-ORG", "I-ORG", "B-PER", "I-PER"]
TASKS = {"ner": {"kind": "tag", "labels": LABELS}}
SOURCE = {"kind": "conll", "splits": {"train": "train.txt"}, "task": "ner"}


def read(folder: Path, text: str, tasks: Any = None, **change: Any) -> list[Example]:
    root = folder / "root"
    root.mkdir(exist_ok=True)
    (root / "train.txt").write_bytes(text.encode())
    return list(source_of(root, SOURCE | change, tasks or TASKS).read("train"))


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
    with pytest.raises(DataError, match=r"train\.txt:3"):
        read(tmp_path, text, skip=["-DOCSTART-"])


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
    with pytest.raises(DataError, match=r"train\.txt:2: ner: found the tag 'B-PER' at 'b'; expected O and I- tags"):
        read(tmp_path, "a\tI-PER\nb\tB-PER\n", scheme="io")


def test_a_tag_that_continues_nothing_is_repaired_only_when_the_card_says_so(tmp_path):
    text = "a\tO\nb\tI-PER\nc\tI-PER\n"
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert "train.txt:2: ner: found the tag 'I-PER' at 'b'" in str(caught.value)
    assert "repair: true" in str(caught.value)
    (example,) = read(tmp_path, text, repair=True)
    assert tags(example) == ["O", "B-PER", "I-PER"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\tO\nb\tB-PRE\n", "train.txt:2: ner: found the tag 'B-PRE' at 'b'; expected one of O, B-ORG"),
        ("a\tO\nb\tB-PRE\n", "did you mean `B-PER`?"),
        ("a\tO\nb\n", "train.txt:2: found 'b'; expected 2 columns"),
        ("a\tO\nb\tc\tO\n", "train.txt:2: found 'b\\tc\\tO'; expected 2 columns"),
        ("a\tO\n\tO\n", "train.txt:2: found '\\tO'; expected 2 columns, the word in column 0"),
        ("a\n", "train.txt:1: found 'a'; expected 2 columns"),
    ],
)
def test_an_unusable_line_is_named(tmp_path, text, says):
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert says in str(caught.value)


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
