"""Memes with techniques and spans: which words a span covers, how the files are joined, and what is found in rows."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import archive, picture, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.card import data_root
from mmkd.data.findings import Finding
from mmkd.data.propaganda import tags_of_spans

TASKS = {
    "techniques": {"kind": "multilabel", "labels": ["Smears", "Doubt", "Transfer"]},
    "spans": {"kind": "tag", "labels": ["O", "B-propaganda", "I-propaganda"]},
}
SOURCE: dict[str, Any] = {
    "kind": "propaganda",
    "splits": {"train": "rows.jsonl"},
    "id": "id",
    "text": "text",
    "image": {"column": "image", "archive": "images.zip", "suffix": ".webp"},
    "labels": {"techniques": {"column": "labels"}, "spans": {"column": "spans"}},
    "spans": {"train": "spans.json"},
}
TEXT = "LOCK\n\nthem up, \u201cnow\u201d"
ROW = {"id": "7", "labels": ["Transfer", "Smears"], "text": TEXT, "image": "7.png"}


def span(start: int, end: int, fragment: str, technique: str = "Smears") -> dict[str, Any]:
    return {"start": start, "end": end, "technique": technique, "text_fragment": fragment}


def entry(*spans: Any, **change: Any) -> dict[str, Any]:
    return {"id": "7", "text": TEXT, "labels": list(spans)} | change


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    archive(folder / "images.zip", {"7.webp": picture(10), "8.webp": picture(20)})
    return folder


def read(root: Path, rows: list[Any], entries: Any, tasks: Any = None, **change: Any) -> list[Example | Finding]:
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (root / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    (root / "spans.json").write_text(entries if isinstance(entries, str) else json.dumps(entries), "utf-8")
    split = next(iter(change.get("splits", SOURCE["splits"])))
    return list(source_of(root, SOURCE | change, tasks or TASKS).read(split))


def example(root: Path, *spans: Any, **change: Any) -> Example:
    (found,) = read(root, [ROW], [entry(*spans)], **change)
    assert isinstance(found, Example), found
    return found


def found_in(root: Path, rows: list[Any], entries: Any) -> Finding:
    """The one finding, in the last row's place."""
    found = read(root, rows, entries)
    assert len(found) == len(rows)
    assert isinstance(found[-1], Finding)
    return found[-1]


def tagged(words: str) -> list[str]:
    """`word/B` -> `B-propaganda`."""
    return ["O" if word.endswith("/O") else f"{word[-1]}-propaganda" for word in words.split()]


def as_set(label: Any) -> frozenset[int]:
    assert isinstance(label, frozenset)
    return label


def as_tuple(label: Any) -> tuple[int, ...]:
    assert isinstance(label, tuple)
    return label


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("a bad man left", [(2, 9)], "a/O bad/B man/I left/O"),
        ("a bad man left", [(2, 3), (8, 9)], "a/O bad/B man/B left/O"),  # a part of a word is the word
        ("a bad man left", [(1, 6)], "a/O bad/B man/O left/O"),  # the space at its ends is no word
        ("a bad man left", [(5, 7)], "a/O bad/O man/B left/O"),
        ("a bad man left", [(0, 14), (2, 5), (6, 9)], "a/B bad/I man/I left/I"),  # spans in another
        ("a bad man left", [(6, 14), (2, 9)], "a/O bad/B man/I left/I"),  # in another order, sharing a word
        ("a bad man left", [(2, 5), (6, 9), (2, 5)], "a/O bad/B man/B left/O"),  # touching, and one of them twice
        ("a bad man left", [(0, 1), (0, 5), (6, 14), (4, 5)], "a/B bad/I man/B left/I"),
        (" a\n\u00a0bad\u2028 man", [(4, 12)], "a/O bad/B man/I"),
        ("a", [], "a/O"),
        ("", [], ""),
    ],
)
def test_tags_of_spans(text, spans, expected):
    assert tags_of_spans(text, spans) == tagged(expected)
    assert len(tags_of_spans(text, spans)) == len(text.split())


def test_a_row_becomes_words_image_techniques_and_tags(root):
    found = example(root, span(6, 13, "them up"))
    assert (found.id, found.words) == ("7", ("LOCK", "them", "up,", "\u201cnow\u201d"))
    assert dict(found.labels) == {"techniques": frozenset({0, 2}), "spans": (0, 1, 2, 0)}
    assert (found.file, found.row, found.image_name) == ("rows.jsonl", 1, "7.webp")
    assert found.image is not None
    assert found.image() == picture(10)


def test_a_row_may_have_no_technique_and_no_span(root):
    (found,) = read(root, [ROW | {"labels": []}], [entry()])
    assert isinstance(found, Example)
    assert dict(found.labels) == {"techniques": frozenset(), "spans": (0, 0, 0, 0)}


def test_rows_are_joined_by_id_whatever_the_order_and_what_has_no_row_is_not_read(root):
    rows = [ROW, {"id": "8", "labels": ["Doubt"], "text": "who knows", "image": "8.png"}]
    entries = [
        {"id": "9", "text": "no row", "labels": [span(0, 99, "?")]},
        {"id": "8", "text": "who knows", "labels": [span(0, 3, "who", "Doubt")]},
        entry(span(0, 4, "LOCK")),
    ]
    tags = [found.labels["spans"] for found in read(root, rows, entries) if isinstance(found, Example)]
    assert tags == [(1, 0, 0, 0), (1, 0)]


def test_one_technique_alone(root):
    spans = [span(0, 4, "LOCK"), span(6, 10, "them", "Doubt")]
    assert example(root, *spans).labels["spans"] == (1, 1, 0, 0)
    assert example(root, *spans, technique="Doubt").labels["spans"] == (0, 1, 0, 0)
    with pytest.raises(DataError, match=r"technique: found 'Smear'; expected one of Doubt.*did you mean `Smears`"):
        example(root, *spans, technique="Smear")


def test_places_that_are_off_but_cover_the_same_words_are_used(root):
    assert example(root, span(4, 10, "th\u200bem")).labels["spans"] == (0, 1, 0, 0)
    assert example(root, span(5, 9, "them")).labels["spans"] == (0, 1, 0, 0)


@pytest.mark.parametrize(
    ("bad", "reason", "says"),
    [
        (span(-1, 4, "LOCK"), "label_unknown", "found a span from -1 to 4; expected one within the text's 20"),
        (span(15, 21, "\u201cnow\u201d"), "label_unknown", "found a span from 15 to 21"),
        (span(4, 4, ""), "label_unknown", "found a span from 4 to 4"),
        (span(4, 0, "LOCK"), "label_unknown", "found a span from 4 to 0"),
        (span(0, 4, "them"), "label_unknown", 'found "LOCK" from 0 to 4; expected "them"'),
        (span(0, 10, "LOCK"), "label_unknown", "from 0 to 10; expected"),
        (span(0, 4, "LOCK", "Smear"), "label_unknown", "did you mean `Smears`"),
        (span(0, 4, "LOCK") | {"start": "one"}, "column_type", "expected `start`, `end`, `technique`"),
        (span(0, 4, "LOCK") | {"technique": ["Smears"]}, "label_unknown", "expected a technique of the card"),
        ({"start": 0, "end": 4, "technique": "Smears"}, "column_type", "expected `start`, `end`, `technique`"),
        ("LOCK", "column_type", "expected `start`, `end`, `technique`"),
    ],
)
def test_a_span_that_is_none_of_the_text_is_a_finding_in_the_row_s_place(root, bad, reason, says):
    for spans in ([bad], [span(0, 4, "LOCK"), bad]):
        finding = found_in(root, [ROW], [entry(*spans)])
        assert (finding.reason, finding.id, finding.field) == (reason, "7", "spans")
        assert (finding.split, finding.file, finding.row) == ("train", "rows.jsonl", 1)
        assert says in finding.message


@pytest.mark.parametrize(
    ("entries", "reason", "says"),
    [
        ([], "column_missing", "found 0 objects with spans and this id; expected one"),
        ([entry(), entry()], "id_repeated", "found 2 objects"),
        ([entry(text="LOCK them up")], "label_unknown", 'found spans of the text "LOCK them up"; expected those of'),
        ([entry(text=TEXT + " ")], "label_unknown", "expected those of"),
        ([{"id": "7", "labels": []}], "label_unknown", "found spans of the text null"),
        ([entry(labels=None)], "column_type", "found null; expected a list of spans"),
    ],
)
def test_files_that_differ_are_a_finding_in_the_row_s_place(root, entries, reason, says):
    finding = found_in(root, [ROW], entries)
    assert (finding.reason, finding.id, finding.field, finding.row) == (reason, "7", "spans", 1)
    assert says in finding.message


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{", "row_unreadable"),
        ("[]", "row_unreadable"),
        ('{"id": "7", "id": "8"}', "row_unreadable"),
        ({"id": "7"}, "column_missing"),
        (ROW | {"id": " "}, "id_missing"),
        (ROW | {"id": None}, "id_missing"),
        (ROW | {"text": ["LOCK"]}, "column_type"),
        (ROW | {"labels": ["Smear"]}, "label_unknown"),
        (ROW | {"labels": "Smears"}, "column_type"),
        (ROW | {"image": "9.png"}, "image_missing"),
    ],
)
def test_a_row_that_is_no_meme_is_a_finding(root, row, reason):
    good = {"id": "8", "labels": [], "text": "who knows", "image": "8.png"}
    finding = found_in(root, [good, row], [entry(), {"id": "8", "text": "who knows", "labels": []}])
    assert (finding.reason, finding.file, finding.row) == (reason, "rows.jsonl", 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[", "expected JSON"),
        ("{}", "expected a list of objects"),
        ('["7"]', r"\[0\]: found \"7\"; expected an object with an `id`"),
        ('[{"text": ""}]', r"\[0\]: .*expected an object with an `id`"),
    ],
)
def test_a_file_of_spans_that_cannot_be_read_is_an_error(root, content, says):
    with pytest.raises(DataError, match=rf"spans\.json: .*{says}"):
        read(root, [ROW], content)


def test_rows_of_transfer_need_no_spans_and_get_no_labels(root):
    (found,) = read(root, [ROW | {"labels": ["?"]}], "no JSON", splits={"transfer": "rows.jsonl"})
    assert isinstance(found, Example)
    assert dict(found.labels) == {}


def test_a_card_that_does_not_fit_is_refused(root):
    only_tags = {"spans": TASKS["spans"]}
    with pytest.raises(DataError, match=r"mmkd\.tasks: found no task of the kind multilabel"):
        read(root, [], [], tasks=only_tags, labels={"spans": {"column": "spans"}})
    with pytest.raises(DataError, match=r"mmkd\.source\.spans: found no file for test; expected one for each split"):
        read(root, [], [], splits={"train": "rows.jsonl", "test": "rows.jsonl"})


def test_the_spans_are_part_of_the_fingerprint(root):
    read(root, [ROW], [entry()])
    source = source_of(root, SOURCE, TASKS)
    assert source.files("train") == ("rows.jsonl", "images.zip", "spans.json")
    assert source.files("test") == ()
    before = source.fingerprint("train")
    (root / "spans.json").write_text("[ ]")
    assert source_of(root, SOURCE, TASKS).fingerprint("train") != before


@pytest.mark.data
@pytest.mark.skipif(data_root() is None, reason="MMKD_DATA is not set")
@pytest.mark.parametrize(
    ("rows", "spans", "size", "smears"),
    [
        ("train.jsonl", "training_set_task2.json", 687, 450),
        ("val.jsonl", "dev_set_task2.json", 63, 47),
        ("test.jsonl", "test_set_task2.json", 200, 105),
    ],
)
def test_the_real_files(tmp_path, rows, spans, size, smears):
    folder, root = (data_root() or Path()) / "propaganda_memes", tmp_path / "root"
    if not (folder / rows).is_file():
        pytest.skip("its files are not here")
    root.mkdir()
    for name, file in {"rows.jsonl": rows, "spans.json": spans, "images.zip": "images256.zip"}.items():
        (root / name).symlink_to(folder / file)
    lines = [json.loads(line) for line in (folder / rows).read_text("utf-8").splitlines()]
    entries = {each["id"]: each for each in json.loads((folder / spans).read_text("utf-8"))}
    techniques = sorted({label for line in lines for label in line["labels"]})
    tasks = TASKS | {"techniques": {"kind": "multilabel", "labels": techniques}}
    examples = [row for row in source_of(root, SOURCE, tasks).read("train") if isinstance(row, Example)]
    assert len(examples) == len(lines) == size
    counts = Counter(techniques[index] for row in examples for index in as_set(row.labels["techniques"]))
    assert counts["Smears"] == smears
    for line, row in zip(lines, examples, strict=True):
        # Character by character: a word is tagged when one of its characters is in a span.
        inside = {at for each in entries[line["id"]]["labels"] for at in range(each["start"], each["end"])}
        expected, at = [], 0
        for word in line["text"].split():
            at = line["text"].index(word, at)
            expected.append(not inside.isdisjoint(range(at, at + len(word))))
            at += len(word)
        assert [tag != 0 for tag in as_tuple(row.labels["spans"])] == expected
