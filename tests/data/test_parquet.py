"""Parquet: images in the file, row groups, types, and files that are damaged."""

import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_sets import examples_of, finding_of, picture, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.findings import Finding

TASKS = {"mood": {"kind": "classify", "labels": ["sad", "happy"]}}
SOURCE: dict[str, Any] = {
    "kind": "parquet",
    "splits": {"train": "rows.parquet"},
    "id": "id",
    "text": "text",
    "labels": {"mood": {"column": "mood"}},
}
IMAGE = {"image": {"column": "image"}}
ROWS = {"id": ["a", "b", "c", "d", "e"], "text": ["x", "y", "z", "", "v"], "mood": ["sad"] * 5}
IMAGES = [picture(1), None, picture(3), picture(4), picture(5)]


def source_for(folder: Path, table: dict[str, Any], group: int = 2, **change: Any) -> Any:
    (folder / "root").mkdir(exist_ok=True)
    pq.write_table(pa.table(table), folder / "root" / "rows.parquet", row_group_size=group)
    return source_of(folder / "root", SOURCE | change, TASKS)


def read(folder: Path, table: dict[str, Any], group: int = 2, **change: Any) -> list[Example | Finding]:
    return list(source_for(folder, table, group, **change).read("train"))


def as_structs(images: list[bytes | None]) -> Any:
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    return pa.array([image and {"bytes": image, "path": "a.png"} for image in images], kind)


@pytest.mark.parametrize("column", [IMAGES, as_structs(IMAGES), pa.array(IMAGES, pa.large_binary())], ids=str)
@pytest.mark.parametrize("group", [1, 2, 100])
def test_images_in_a_column(tmp_path, column, group):
    rows = examples_of(read(tmp_path, ROWS | {"image": column}, group, **IMAGE))
    assert [row.image and row.image() for row in rows] == IMAGES
    assert [row.image and row.image() for row in reversed(rows)] == IMAGES[::-1]
    assert [row.row for row in rows] == [1, 2, 3, 4, 5]
    one = pickle.loads(pickle.dumps(rows[2]))
    assert one.image() == picture(3)


def test_rows_that_are_an_image_alone(tmp_path):
    change = IMAGE | {"id": None, "text": None, "labels": {}}
    (tmp_path / "root").mkdir()
    pq.write_table(pa.table({"image": IMAGES[2:]}), tmp_path / "root" / "rows.parquet")
    rows = examples_of(list(source_of(tmp_path / "root", SOURCE | change, {}).read("train")))
    assert [row.id for row in rows] == ["train-0", "train-1", "train-2"]


def test_a_path_without_bytes_is_a_finding(tmp_path):
    images = pa.array(
        [
            {"bytes": picture(1), "path": None},
            {"bytes": None, "path": "a.png"},
            {"bytes": None, "path": None},
            None,
            None,
        ],
        pa.struct({"bytes": pa.binary(), "path": pa.string()}),
    )
    rows = read(tmp_path, ROWS | {"text": ["x"] * 5, "image": images}, **IMAGE)
    assert (finding_of(rows, "image_missing").row, finding_of(rows, "image_missing").field) == (2, "image")
    assert [row.image is None for row in rows if isinstance(row, Example)] == [False, True, True, True]


@pytest.mark.parametrize("kind", [pa.string(), pa.int64(), pa.struct({"path": pa.string()})], ids=str)
def test_a_column_that_cannot_hold_images_is_an_error(tmp_path, kind):
    with pytest.raises(DataError, match="expected binary, or a struct with `bytes`"):
        read(tmp_path, ROWS | {"image": pa.nulls(5, kind)}, **IMAGE)


def test_columns_that_the_card_does_not_name_are_not_read(tmp_path):
    far = pa.array([2**62] * 5, pa.timestamp("us"))  # no date of Python's
    assert len(examples_of(read(tmp_path, ROWS | {"when": far, "text": ["x"] * 5}))) == 5
    with pytest.raises(DataError, match=r"rows\.parquet: cannot be read as Parquet"):
        read(tmp_path, ROWS | {"text": far})


def test_types_that_are_no_text(tmp_path):
    table = ROWS | {"text": pa.array([b"x"] * 5)}
    assert {row.reason for row in read(tmp_path, table) if isinstance(row, Finding)} == {"column_type"}
    dictionary = ROWS | {"id": pa.array(ROWS["id"]).dictionary_encode(), "text": ["x"] * 5}
    assert [row.id for row in examples_of(read(tmp_path, dictionary))] == ROWS["id"]


def test_names_with_dots_and_names_twice(tmp_path):
    table = {"a": ["no"] * 5, "a.id": ROWS["id"], "a.text": ["x"] * 5, "mood": ROWS["mood"]}
    rows = examples_of(read(tmp_path, table, id="a.id", text="a.text"))
    assert [row.id for row in rows] == ROWS["id"]
    twice = pa.table([pa.array(["a"])] * 4, names=["id", "text", "text", "mood"])
    pq.write_table(twice, tmp_path / "root" / "rows.parquet")
    with pytest.raises(DataError, match="text: found the column twice"):
        list(source_of(tmp_path / "root", SOURCE, TASKS).read("train"))


def test_more_rows_than_are_read_at_once(tmp_path):
    count = 3000
    table = {"id": list(range(count)), "text": [f"x {n}" for n in range(count)], "mood": ["sad"] * count}
    rows = examples_of(read(tmp_path, table, 1700))
    assert [row.id for row in rows] == [str(n) for n in range(count)]
    assert [row.words[1] for row in rows] == [str(n) for n in range(count)]


def test_files_that_are_damaged_are_errors(tmp_path):
    source = source_for(tmp_path, ROWS | {"image": IMAGES}, **IMAGE)
    path = tmp_path / "root" / "rows.parquet"
    good = path.read_bytes()
    before = list(source.read("train"))
    for content in (b"", b"PAR1", good[:-1], good[: len(good) // 2], b"x" * len(good)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"rows\.parquet: cannot be read as Parquet"):
            list(source.read("train"))
    with pytest.raises(DataError, match=r"rows\.parquet: image: cannot be read"):
        before[0].image()
    path.unlink()
    with pytest.raises(DataError, match=r"rows\.parquet: cannot be read as Parquet"):
        list(source.read("train"))
