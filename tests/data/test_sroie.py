"""Receipts: which words hold a field's value, what an archive's receipts become, and what is found in their place."""

import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import archive, picture, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.card import data_root
from mmkd.data.findings import Finding
from mmkd.data.sroie import Transcript, tags

LABELS = ["O", *(f"{place}-{field}" for field in ("COMPANY", "DATE", "ADDRESS", "TOTAL") for place in "BI")]
TASKS = {"fields": {"kind": "tag", "labels": LABELS}}
SOURCE = {"kind": "sroie", "splits": {"train": "notes.zip"}, "images": "images.zip"}
KEY = {"company": "ACME SDN BHD", "date": "25/12/2018", "address": "NO.5, JALAN SAGU, 81100 JOHOR", "total": "9.00"}
LINES = ["ACME SDN BHD", "NO.5, JALAN SAGU,", "81100 JOHOR", "DATE 25/12/2018", "TEA 1.50", "TOTAL 9.00"]


def entities(found: list[str]) -> list[tuple[str, int, int]]:
    """(type, first word, the word after the last) of each entity of BIO tags."""
    starts = [place for place, tag in enumerate(found) if tag.startswith("B-")]
    ends = [next((p for p in range(s + 1, len(found)) if found[p][:2] != "I-"), len(found)) for s in starts]
    assert sum(tag != "O" for tag in found) == sum(ends) - sum(starts)
    return [(found[start][2:], start, end) for start, end in zip(starts, ends, strict=True)]


def spread(lines: list[str]) -> list[Transcript]:
    """Each text on a line of its own, ten pixels high."""
    return [Transcript(20 * number, 20 * number + 10, line) for number, line in enumerate(lines)]


def fields(lines: list[str] | list[Transcript], **change: str | None) -> list[tuple[str, str]] | None:
    """(field, its words) for each entity, in order."""
    transcripts = [each if isinstance(each, Transcript) else spread([each])[0] for each in lines]
    if lines and isinstance(lines[0], str):
        transcripts = spread([str(line) for line in lines])
    found = tags(transcripts, {name: value for name, value in (KEY | change).items() if value is not None})
    if found is None:
        return None
    words = [word for each in transcripts for word in each.text.split()]
    assert len(words) == len(found)
    return [(kind, " ".join(words[first:end])) for kind, first, end in entities(found)]


def test_every_field_is_found_across_boxes():
    assert fields(LINES) == [
        ("COMPANY", "ACME SDN BHD"),
        ("ADDRESS", "NO.5, JALAN SAGU, 81100 JOHOR"),
        ("DATE", "25/12/2018"),
        ("TOTAL", "9.00"),
    ]
    assert tags(spread(LINES), KEY) == [
        *("B-COMPANY", "I-COMPANY", "I-COMPANY"),
        *("B-ADDRESS", "I-ADDRESS", "I-ADDRESS", "I-ADDRESS", "I-ADDRESS"),
        *("O", "B-DATE", "O", "O", "O", "B-TOTAL"),
    ]


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("Acme sdn. bhd", "ACME SDN BHD", ["Acme sdn. bhd"]),
        ("THE ACME SDN BHD(728384-M)", "ACME SDN BHD", ["ACME SDN BHD(728384-M)"]),
        ("ACMESDN BHD", "ACME SDN BHD", ["ACMESDN BHD"]),
        ("ACME - SDN & BHD", "ACME SDN BHD", ["ACME - SDN & BHD"]),
        ("ACME SDN BHD OF ACME SDN BHD", "ACME SDN BHD", ["ACME SDN BHD", "ACME SDN BHD"]),
        ("AC.ME BHD", "A.C.M.E. BHD", ["AC.ME BHD"]),
        ("AC.ME BHD", "ACME BHD", None),  # letters of one run stand together
        ("PACME SDN BHD", "ACME SDN BHD", None),
        ("ACME SDN BHDS", "ACME SDN BHD", None),
        ("ACME SDM BHD", "ACME SDN BHD", None),
        ("CAF\u00c9 7ELEVEN", "caf\u00e9 7-eleven", ["CAF\u00c9 7ELEVEN"]),
        ("A+ (B) [C", "a b c", ["A+ (B) [C"]),
    ],
)
def test_places_of_a_text(line, value, expected):
    found = fields([line, *LINES[1:]], company=value)
    assert (found and [words for kind, words in found if kind == "COMPANY"]) == expected


@pytest.mark.parametrize(
    ("line", "value", "expected"),
    [
        ("DATE:25/12/2018", "25/12/2018", ["DATE:25/12/2018"]),
        ("25/12/2018TIME: 8:13", "25/12/2018", ["25/12/2018TIME:"]),
        ("25-12-2018 AND 25.12.2018", "25/12/2018", ["25-12-2018", "25.12.2018"]),
        ("25 DEC 2018", "25 DEC 2018", ["25 DEC 2018"]),
        ("25DEC2018", "25 DEC 2018", ["25DEC2018"]),
        ("125/12/2018", "25/12/2018", None),
        ("25/12/20180", "25/12/2018", None),
        ("28/12/018", "28/1/2018", None),
        ("2/81/2018", "28/1/2018", None),
        ("25122018", "25/12/2018", None),
    ],
)
def test_places_of_numbers(line, value, expected):
    found = fields([*LINES[:3], line, *LINES[4:]], date=value)
    assert (found and [words for kind, words in found if kind == "DATE"]) == expected


@pytest.mark.parametrize(
    ("lines", "value", "expected"),
    [
        (["TEA 9.00", "TOTAL 9.00", "CASH 9.00"], "9.00", [7]),
        (["SUB TOTAL: 9.00", "Total RM9.00", "CASH 9.00"], "RM 9.00", [6, 8]),
        (["TEA 9.00", "DUE 9.00", "CHANGE 1.00"], "9.00", [7]),  # no total: the last
        (["TOTAL 1,234.50", "CASH 1234.50"], "$1234.5", [5]),
        (["TOTAL 9.001", "DUE 19.00", "CASH 9.00"], "9.00", [9]),
        (["TOTAL 19:9.00", "28.9.00/1", "CASH 9.00"], "9.00", [8]),
        (["TOTAL 9.00.18", "TOTAL 9.00:1", "TOTAL 9.00/1", "CASH 9.00."], "9.00", [11]),
        (["TOTAL 9", "DUE 9,00"], "9.00", None),
        (["TOTAL -.50"], "-0.50", [5]),
        (["TOTAL 9.00"], "", None),
        (["TOTAL 9.00"], "RM", None),
    ],
)
def test_places_of_a_total(lines, value, expected):
    """expected: the number of each word that is tagged, after the four words of the other fields."""
    found = tags(spread(["ACME", "NO.5 JALAN", "25/12/2018", *lines]), KEY | {
        "company": "ACME", "address": "NO 5 JALAN", "total": value})  # fmt: skip
    assert (found and [number for number, tag in enumerate(found) if tag.endswith("TOTAL")]) == expected
    assert found is None or "I-TOTAL" not in found


def test_a_total_stands_beside_its_word_in_another_box():
    amounts = [Transcript(300, 310, "9.00"), Transcript(402, 412, "9.00"), Transcript(500, 510, "9.00")]
    beside = [*spread(LINES[:4]), Transcript(398, 409, "ROUNDED TOTAL:"), *amounts]
    found = tags(beside, KEY)
    assert found is not None
    assert [number for number, tag in enumerate(found) if tag == "B-TOTAL"] == [13]
    apart = [*spread(LINES[:4]), Transcript(380, 406, "ROUNDED TOTAL:"), *amounts]
    found = tags(apart, KEY)
    assert found is not None
    assert [number for number, tag in enumerate(found) if tag == "B-TOTAL"] == [14]


@pytest.mark.parametrize("field", KEY)
def test_a_receipt_with_a_field_that_is_absent_or_not_found_is_not_labelled(field):
    assert fields(LINES) is not None
    for value in (None, "", " .", "XYZ 1.23"):
        assert fields(LINES, **{field: value}) is None


def test_a_place_that_an_earlier_field_has_is_no_place():
    lines = ["ACME SDN BHD NO.5", *LINES[3:]]
    assert fields(lines, address="ACME SDN BHD NO.5") is None
    assert fields(lines, address="SDN") is None
    assert fields([*lines, "SDN"], address="SDN") == [
        *(("COMPANY", "ACME SDN BHD"), ("DATE", "25/12/2018"), ("TOTAL", "9.00"), ("ADDRESS", "SDN"))
    ]


def boxes(lines: list[str]) -> str:
    return "".join(f"5,{20 * n},90,{20 * n},90,{20 * n + 10},5,{20 * n + 10},{line}\n" for n, line in enumerate(lines))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    archive(folder / "images.zip", {"000.webp": picture(10), "001.webp": picture(20)})
    return folder


def read(root: Path, members: dict[str, str | bytes], split: str = "train", **change: Any) -> list[Example | Finding]:
    archive(root / "notes.zip", {n: text.encode() if isinstance(text, str) else text for n, text in members.items()})
    return list(source_of(root, SOURCE | change, TASKS).read(split))


GOOD: dict[str, str | bytes] = {"box/000.csv": boxes(LINES), "key/000.json": json.dumps(KEY)}


def test_a_receipt_becomes_words_image_labels_and_group(root):
    members = {"readme.txt": "", "box/": "", "key/001.json": json.dumps(KEY | {"company": "The Shop"})}
    members |= {"box/001.csv": boxes(["a, b,c"]).replace("\n", "\r\n") + "\r\n"}
    first, second = read(root, members | GOOD)
    assert isinstance(first, Example)
    assert isinstance(second, Example)
    assert (first.id, first.file, first.row, first.image_name) == ("000", "notes.zip", None, "000.webp")
    assert first.words == tuple(" ".join(LINES).split())
    label = first.labels["fields"]
    assert isinstance(label, tuple)
    assert [LABELS[index] for index in label] == tags(spread(LINES), KEY)
    assert first.image is not None
    assert first.image() == picture(10)
    assert (first.group, second.group) == ("acme sdn bhd", "the shop")
    assert (second.id, second.words, dict(second.labels)) == ("001", ("a,", "b,c"), {})


def test_rows_of_transfer_have_no_labels(root):
    (found,) = read(root, GOOD, "transfer", splits={"transfer": "notes.zip"})
    assert isinstance(found, Example)
    assert dict(found.labels) == {}


@pytest.mark.parametrize(
    ("members", "reason", "field", "says"),
    [
        ({"box/001.csv": boxes(LINES)}, "column_missing", "key/001.json", "found no such file"),
        ({"key/001.json": json.dumps(KEY)}, "column_missing", "box/001.csv", "found no such file"),
        ({"box/001.csv": "1,2,3,4,5,6,7,a\n"}, "row_unreadable", "box/001.csv", "line 1: found '1,2,3,4,5,6,7,a'"),
        ({"box/001.csv": "1,2\n"}, "row_unreadable", "box/001.csv", "expected 8 whole numbers and a transcript"),
        ({"box/001.csv": boxes(["a"]) + "1,2,3,4,x,6,7,8,a"}, "row_unreadable", "box/001.csv", "line 2"),
        ({"box/001.csv": b"1,2,3,4,5,6,7,8,\xff\n"}, "row_not_utf8", "box/001.csv", "expected utf-8"),
        ({"box/001.csv": boxes(["a"]) + " " * 2**20}, "row_too_long", "box/001.csv", "expected one receipt"),
        ({"key/001.json": "{"}, "row_unreadable", "key/001.json", "expected one JSON object"),
        ({"key/001.json": '{"total": "1", "total": "2"}'}, "row_unreadable", "key/001.json", "found a field twice"),
        ({"key/001.json": "[]"}, "column_type", "key/001.json", "expected an object with texts"),
        ({"key/001.json": '{"total": null}'}, "column_type", "key/001.json", "expected an object with texts"),
    ],
)
def test_a_receipt_that_cannot_be_read_is_a_finding_in_its_place(root, members, reason, field, says):
    if len(members) == 1 and reason != "column_missing":
        members = {"box/001.csv": boxes(LINES), "key/001.json": json.dumps(KEY)} | members
    good, finding = read(root, GOOD | members)
    assert isinstance(good, Example)
    assert isinstance(finding, Finding)
    assert (finding.reason, finding.field, finding.split) == (reason, field, "train")
    assert (finding.file, finding.row, finding.id) == ("notes.zip", None, "001")
    assert says in finding.message


def test_a_missing_image_is_a_finding(root):
    members = GOOD | {"box/002.csv": boxes(LINES), "key/002.json": json.dumps(KEY)}
    _, finding = read(root, members)
    assert isinstance(finding, Finding)
    assert (finding.reason, finding.id) == ("image_missing", "002")


def test_a_damaged_member_is_a_finding_and_a_damaged_archive_an_error(root):
    members = GOOD | {"box/001.csv": boxes(LINES), "key/001.json": json.dumps(KEY)}
    assert len(read(root, members)) == 2
    path = root / "notes.zip"
    content = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        start = file.getinfo("box/001.csv").header_offset
    path.write_bytes(content[: start + 60] + b"?" + content[start + 61 :])
    good, finding = source_of(root, SOURCE, TASKS).read("train")
    assert isinstance(good, Example)
    assert isinstance(finding, Finding)
    assert (finding.reason, finding.id) == ("row_unreadable", "001")
    path.write_bytes(content[:-30])
    with pytest.raises(DataError, match=r"notes\.zip: cannot be read as a zip archive: .*get the archive again"):
        list(source_of(root, SOURCE, TASKS).read("train"))


@pytest.mark.parametrize(
    "tasks",
    [
        {"other": TASKS["fields"]},
        TASKS | {"other": TASKS["fields"]},
        {"fields": {"kind": "classify", "labels": LABELS}},
        {"fields": {"kind": "tag", "labels": LABELS[:-2]}},
    ],
)
def test_a_card_with_other_tasks_is_refused(root, tasks):
    archive(root / "notes.zip", {})
    with pytest.raises(DataError, match=r"mmkd\.tasks: expected one task named fields, of the kind tag, with the"):
        source_of(root, SOURCE, tasks)


def test_the_files(root):
    archive(root / "notes.zip", {})
    source = source_of(root, SOURCE, TASKS)
    assert source.files("train") == ("notes.zip", "images.zip")
    assert source.files("test") == ()


@pytest.mark.data
@pytest.mark.skipif(data_root() is None, reason="MMKD_DATA is not set")
def test_the_real_receipts(tmp_path):
    folder, root = (data_root() or Path()) / "sroie", tmp_path / "root"
    if not (folder / "annotations.zip").is_file():
        pytest.skip("its files are not here")
    root.mkdir()
    (root / "notes.zip").symlink_to(folder / "annotations.zip")
    (root / "images.zip").symlink_to(folder / "images448.zip")
    receipts = [row for row in source_of(root, SOURCE, TASKS).read("train") if isinstance(row, Example)]
    labelled = [row for row in receipts if row.labels]
    assert (len(receipts), len(labelled)) == (626, 572)
    with zipfile.ZipFile(folder / "annotations.zip") as file:
        keys = {row.id: json.loads(file.read(f"key/{row.id}.json")) for row in labelled}
    counts: Counter[str] = Counter()
    for row in labelled:
        label = row.labels["fields"]
        assert isinstance(label, tuple)
        for kind, first, end in entities([LABELS[index] for index in label]):
            counts[kind] += 1
            wanted, found = (
                "".join(filter(str.isalnum, text)).lower()
                for text in (keys[row.id][kind.lower()], "".join(row.words[first:end]))
            )
            assert kind == "TOTAL" or wanted in found
    assert counts == {"COMPANY": 590, "DATE": 706, "ADDRESS": 572, "TOTAL": 956}
