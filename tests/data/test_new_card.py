"""A card that is written for files reads them; what it cannot know is marked, and the check says so."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_sets import archive, folder_sum, picture

from mmkd.arrays import file_hash
from mmkd.data.base import DataError, Example
from mmkd.data.card import Card, open_source, read_card
from mmkd.data.card_text import SECTIONS, TO_WRITE, mistakes
from mmkd.data.dataset import DataSet
from mmkd.data.integrity import check_files
from mmkd.data.new_card import write_card

MOODS = ("bad", "good", "so-so")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The data root, with the folder of a set."""
    (tmp_path / "data" / "tiny").mkdir(parents=True)
    monkeypatch.setenv("MMKD_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def posts(start: int = 0, count: int = 9, **more: Any) -> list[dict[str, Any]]:
    return [
        {"id": f"p{n}", "text": f"post number {n} is {n * n}", "mood": MOODS[n % 3], **more}
        for n in range(start, start + count)
    ]


def lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    return path


def table(path: Path, rows: Sequence[Mapping[str, Any]], separator: str = ",", mark: str = "") -> Path:
    cells = [list(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    path.write_text(mark + "".join(f"{separator.join(row)}\n" for row in cells), "utf-8")
    return path


def new(root: Path, *paths: Path) -> Card:
    return read_card(write_card("tiny", paths, root.parent / "data_cards"))


def read(card: Card, root: Path, split: str) -> list[Example]:
    """The rows, all of which must be examples, in files that are as the card says."""
    check_files(card, root, root.parent / "memory")
    data = DataSet(card, open_source(card, {}, root), root.parent / "checks", {})
    data.report().require("tiny")
    return list(data.read(split))


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "tsv", "parquet"])
def test_tables_of_texts_and_labels(root: Path, ending: str):
    sizes = {"train": 9, "dev": 6, "test": 6}
    files = []
    for number, (name, size) in enumerate(sizes.items()):
        path, rows = root / "tiny" / f"posts_{name}.{ending}", posts(100 * number, size)
        if ending == "jsonl":
            lines(path, rows)
        elif ending == "json":
            path.write_text(json.dumps(rows), "utf-8")
        elif ending == "parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)
        else:
            table(path, rows, "," if ending == "csv" else "\t")
        files.append(path)
    card = new(root, *files)
    assert card.splits == {"train": 9, "validation": 6, "test": 6}
    assert {name: task.model_dump(exclude_defaults=True) for name, task in card.tasks.items()} == {
        "mood": {"kind": "classify", "labels": MOODS}
    }
    assert card.modalities == ("text",)
    assert {name: file.sha256 for name, file in card.files.items()} == {
        f"tiny/{path.name}": file_hash(path) for path in files
    }
    for split, start in (("train", 0), ("validation", 100), ("test", 200)):
        examples = read(card, root, split)
        assert [example.id for example in examples] == [f"p{n}" for n in range(start, start + card.splits[split])]
        assert examples[1].words == ("post", "number", str(start + 1), "is", str((start + 1) ** 2))
        assert [example.labels["mood"] for example in examples[:3]] == [(start + n) % 3 for n in range(3)]


@pytest.mark.parametrize("holder", ["archive", "folder"])
def test_images_beside_a_table_are_found_by_their_names(root: Path, holder: str):
    pictures = {f"img/{n}.png": picture(20 * n) for n in range(6)}
    rows = [row | {"file": f"img/{n}.png", "width": "4"} for n, row in enumerate(posts(count=6))]
    path = lines(root / "tiny" / "train.jsonl", rows)
    if holder == "archive":
        archive(root / "tiny" / "all.zip", pictures)
        beside = root / "tiny" / "all.zip"
    else:
        beside = root / "tiny" / "all"
        for name, content in pictures.items():
            (beside / name).parent.mkdir(parents=True, exist_ok=True)
            (beside / name).write_bytes(content)
    card = new(root, path, beside)
    where = {"archive": "tiny/all.zip"} if holder == "archive" else {"folder": "tiny/all"}
    assert card.source["image"] == {"column": "file", **where}
    assert card.modalities == ("text", "image")
    assert set(card.files) == {"tiny/train.jsonl", "tiny/all.zip" if holder == "archive" else "tiny/all/"}
    if holder == "folder":
        assert card.files["tiny/all/"].sha256 == folder_sum(beside)
    examples = read(card, root, "train")
    assert [example.image and example.image() for example in examples] == list(pictures.values())


def test_one_folder_stands_for_the_tables_and_images_in_it(root: Path):
    lines(root / "tiny" / "train.jsonl", [row | {"image": f"{n}.png"} for n, row in enumerate(posts())])
    lines(root / "tiny" / "test.jsonl", [row | {"image": f"{n}.png"} for n, row in enumerate(posts(50, 4))])
    archive(root / "tiny" / "images.zip", {f"{n}.png": picture(9 * n) for n in range(9)})
    (root / "tiny" / "LICENSE.txt").write_text("free", "utf-8")
    (root / "tiny" / ".hidden").write_text("no", "utf-8")
    card = new(root, root / "tiny")
    assert set(card.files) == {"tiny/images.zip", "tiny/test.jsonl", "tiny/train.jsonl"}
    assert card.splits == {"train": 9, "test": 4}
    assert card.source["image"] == {"column": "image", "archive": "tiny/images.zip"}


def test_images_in_a_parquet_column(root: Path):
    rows = [row | {"image": {"bytes": picture(20 * n), "path": None}} for n, row in enumerate(posts())]
    pq.write_table(pa.Table.from_pylist(rows), root / "tiny" / "train.parquet")
    card = new(root, root / "tiny" / "train.parquet")
    assert card.source["image"] == {"column": "image"}
    assert [example.image and example.image() for example in read(card, root, "train")][2] == picture(40)


@pytest.mark.parametrize("splits", [("train", "val"), ()])
def test_an_image_folder(root: Path, splits: tuple[str, ...]):
    for number, split in enumerate(splits or ("",)):
        for place, name in enumerate(("cat", "dog")):
            folder = root / "tiny" / split / name
            folder.mkdir(parents=True)
            for n in range(3):
                (folder / f"{n}.png").write_bytes(picture(30 * n + 7 * place + 100 * number))
    card = new(root, root / "tiny")
    assert card.source["kind"] == "image_folder"
    assert card.modalities == ("image",)
    assert card.tasks["label"].labels == ("cat", "dog")
    expected = {"train": 6, "validation": 6} if splits else {"train": 6}
    assert card.splits == expected
    assert set(card.files) == ({"tiny/train/", "tiny/val/"} if splits else {"tiny/"})
    assert [example.labels["label"] for example in read(card, root, "train")] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize(("separator", "columns"), [("\t", 2), (" ", 4)])
def test_a_word_a_line(root: Path, separator: str, columns: int):
    sentences = [["Ann B-PER", "Lee I-PER", "ran O"], ["to O", "Rome B-LOC"]]
    rows = [
        "\n".join(separator.join([w.split()[0], *["x"] * (columns - 2), w.split()[1]]) for w in s) for s in sentences
    ]
    (root / "tiny" / "train.conll").write_text("\n\n".join(rows) + "\n", "utf-8")
    card = new(root, root / "tiny" / "train.conll")
    assert card.splits == {"train": 2}
    assert card.tasks["ner"].labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    examples = read(card, root, "train")
    assert [example.words for example in examples] == [("Ann", "Lee", "ran"), ("to", "Rome")]
    assert [example.labels["ner"] for example in examples] == [(3, 4, 0), (0, 1)]


def test_lists_of_words_with_lists_of_tags(root: Path):
    rows = [{"tokens": ["Ann", "ran"], "ner_tags": ["B-PER", "O"]}, {"tokens": ["Rome"], "ner_tags": ["B-LOC"]}]
    card = new(root, lines(root / "tiny" / "train.jsonl", rows))
    assert card.source["words"] == "tokens"
    assert card.tasks["ner_tags"].labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert [(e.words, e.labels["ner_tags"]) for e in read(card, root, "train")] == [
        (("Ann", "ran"), (3, 0)),
        (("Rome",), (1,)),
    ]


def test_what_is_no_label_is_none(root: Path):
    rows = [
        row
        | {"when": str(n), "always": "same", "2nd label": str(n % 2), "seen": n % 2 == 0, "rate": n / 7, "tags": ["a"]}
        for n, row in enumerate(posts(count=40))
    ]
    rows[3]["2nd label"] = None
    card = new(root, lines(root / "tiny" / "train.jsonl", rows))
    assert {name: task.labels for name, task in card.tasks.items()} == {
        "mood": MOODS, "task_2nd_label": ("0", "1"), "seen": ("false", "true"),
    }  # fmt: skip
    labels = [example.labels for example in read(card, root, "train")]
    assert labels[2] == {"mood": 2, "task_2nd_label": 0, "seen": 1}
    assert labels[3] == {"mood": 0, "seen": 0}


def test_labels_that_yaml_could_take_for_something_else_stay_text(root: Path):
    values = ("no", "null", "1e5", "007", "~", "a: b", "#c")
    rows = [{"text": f"some words {n}", "odd": values[n % 7]} for n in range(21)]
    card = new(root, lines(root / "tiny" / "train.jsonl", rows))
    assert card.tasks["odd"].labels == tuple(sorted(values))
    assert [card.tasks["odd"].labels[e.labels["odd"]] for e in read(card, root, "train")][:7] == list(values)


def test_ids_are_those_that_differ(root: Path):
    rows = [row | {"id": "same", "key": f"k{n}"} for n, row in enumerate(posts())]
    assert new(root, lines(root / "tiny" / "train.jsonl", rows)).source["id"] == "key"
    (root.parent / "data_cards" / "tiny.md").unlink()
    rows = [row | {"id": "same"} for row in posts()]
    assert new(root, lines(root / "tiny" / "train.jsonl", rows)).source["id"] is None


def test_a_byte_order_mark_is_no_part_of_the_first_column(root: Path):
    card = new(root, table(root / "tiny" / "train.csv", posts(), mark="\ufeff"))
    assert (card.source["id"], card.source["encoding"]) == ("id", "utf-8-sig")
    assert read(card, root, "train")[0].id == "p0"


def test_files_of_one_split_are_read_one_after_the_other(root: Path):
    one = lines(root / "tiny" / "part1.jsonl", posts(0, 4))
    two = lines(root / "tiny" / "part2.jsonl", posts(4, 5))
    card = new(root, one, two, lines(root / "tiny" / "unlabelled.jsonl", posts(20, 3)))
    assert card.source["splits"] == {
        "train": ["tiny/part1.jsonl", "tiny/part2.jsonl"],
        "transfer": "tiny/unlabelled.jsonl",
    }
    assert card.splits == {"train": 9, "transfer": 3}
    assert [example.id for example in read(card, root, "train")] == [f"p{n}" for n in range(9)]


def test_rows_that_cannot_be_read_are_counted_and_left_to_the_check(root: Path):
    path = lines(root / "tiny" / "train.jsonl", posts())
    path.write_text(path.read_text("utf-8").replace('"p4"', "p4", 1), "utf-8")
    card = new(root, path)
    assert card.splits == {"train": 9}
    with pytest.raises(DataError, match=r"1 finding refuses[^~]*train\.jsonl:5: .*row_unreadable"):
        read(card, root, "train")


def test_what_is_not_known_is_marked_and_the_check_names_it_until_it_is_written(root: Path):
    path = write_card("tiny", [lines(root / "tiny" / "train.jsonl", posts())], root.parent / "data_cards")
    told = list(mistakes(read_card(path)))
    for heading in SECTIONS:
        assert any(f"`## {heading}` is still to be written" in line for line in told)
    for key in ("license", "language.0", "mmkd.obtain", "mmkd.pii.note"):
        assert f"`{key}` is still to be written" in told
    assert len(told) == len(SECTIONS) + 4
    text = path.read_text("utf-8")
    path.write_text(re.sub(rf"{TO_WRITE}", "written", text), "utf-8")
    assert list(mistakes(read_card(path))) == []


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.txt", b"text\n", "found no table among .*expected a file with .jsonl"),
        ("train.csv", b"a,b\n1,2\n", "found no column of texts, words or images among: a, b"),
        ("train.csv", b"text,mood\ncaf\xe9,bad\n", "found byte 13 that is not UTF-8"),
        ("train.json", b"[1,", "expected one JSON document"),
        ("train.parquet", b"PAR1", "cannot be read as Parquet"),
        ("train.conll", b"one\tO\n", "found no line that ends with a tag like `B-PER`"),
        ("train.jsonl", b"", "found no column of texts, words or images among: none"),
        ("train.csv", b"text,text\na b,c\n", "column 'text' twice"),
        ("images.zip", b"PK", "cannot be read as a zip archive"),
    ],
)
def test_what_no_card_can_be_written_for_is_said(root: Path, name: str, content: bytes, message: str):
    (root / "tiny" / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        new(root, root / "tiny" / name)
    assert not (root.parent / "data_cards").exists()


def test_where_a_card_is_and_files_that_are_not_there_or_elsewhere(root: Path, tmp_path: Path, monkeypatch):
    path = lines(root / "tiny" / "train.jsonl", posts())
    with pytest.raises(DataError, match=r"nowhere\.jsonl: is not there"):
        new(root, root / "nowhere.jsonl")
    with pytest.raises(DataError, match="is not below MMKD_DATA"):
        new(root, lines(tmp_path / "elsewhere.jsonl", posts()))
    with pytest.raises(DataError, match="found tables of the kinds csv, jsonl"):
        new(root, path, table(root / "tiny" / "test.csv", posts()))
    with pytest.raises(DataError, match=r"found the name '\.\./tiny'"):
        write_card("../tiny", [path], root.parent / "data_cards")
    card = new(root, path)
    before = card.path.read_bytes()
    with pytest.raises(DataError, match="the card is there"):
        new(root, path)
    assert card.path.read_bytes() == before
    monkeypatch.delenv("MMKD_DATA")
    with pytest.raises(DataError, match=r"is not below MMKD_DATA \(None\)"):
        write_card("other", [path], root.parent / "data_cards")
