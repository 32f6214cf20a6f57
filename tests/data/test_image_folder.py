"""Image folders: classes by folder, in a folder or a zip archive, and what leads out of them."""

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from tiny_sets import archive, card, examples_of, finding_of, picture, source_of

from mmkd.data.base import DataError, Example
from mmkd.data.card import open_source
from mmkd.data.findings import Finding

TASKS = {"animal": {"kind": "classify", "labels": ["cat", "dog"]}}
FILES = {
    "cat/1.png": picture(1),
    "cat/deep/dog/007.PNG": picture(2),
    "dog/\u00e9.jpeg": picture(3),
    "cat/notes.txt": b"no image",
    "dog/.hidden.png": b"",
    "__MACOSX/cat/1.png": b"",
    "dog/10.png": picture(4),
}
EXPECTED = [("cat/1.png", 0, 1), ("cat/deep/dog/007.PNG", 1, 2), ("dog/10.png", 1, 4), ("dog/\u00e9.jpeg", 1, 3)]


def made(folder: Path, kind: str, files: dict[str, bytes]) -> dict[str, Any]:
    """Write the files. Gives the card's source."""
    root = folder / "root"
    root.mkdir(exist_ok=True)
    if kind == "zip":
        archive(root / "set.zip", files)
    else:
        for name, content in files.items():
            (root / "set" / name).parent.mkdir(parents=True, exist_ok=True)
            (root / "set" / name).write_bytes(content)
    return {"kind": "image_folder", "splits": {"train": "set.zip" if kind == "zip" else "set"}, "task": "animal"}


def read(folder: Path, kind: str, files: dict[str, bytes], **change: Any) -> list[Example | Finding]:
    return list(source_of(folder / "root", made(folder, kind, files) | change, TASKS).read("train"))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_images_and_their_classes(tmp_path, kind):
    source = source_of(tmp_path / "root", made(tmp_path, kind, FILES), TASKS)
    rows = examples_of(list(source.read("train")))
    assert [(row.id, row.labels["animal"]) for row in rows] == [(name, label) for name, label, _ in EXPECTED]
    for row, (name, _, red) in zip(rows, EXPECTED, strict=True):
        assert (row.image_name, row.words, row.row) == (name, (), None)
        assert row.image is not None
        assert row.image() == picture(red)
        assert pickle.loads(pickle.dumps(row)).image() == picture(red)
    assert source.files("train") == (("set.zip",) if kind == "zip" else ("set/",))
    copy = pickle.loads(pickle.dumps(source))
    assert [row.id for row in examples_of(list(copy.read("train")))] == [row.id for row in rows]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_classes_by_other_names(tmp_path, kind):
    files = {"n01/1.png": picture(1), "n02/1.png": picture(2), "unsorted/1.png": picture(3)}
    change = {"values": {"n01": "dog", "n02": "cat"}, "missing": ["unsorted"]}
    rows = examples_of(read(tmp_path, kind, files, **change))
    assert [dict(row.labels) for row in rows] == [{"animal": 1}, {"animal": 0}, {}]


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_a_class_that_the_card_lacks_is_a_finding(tmp_path, kind):
    files = {"cat/1.png": picture(1), "dgo/1.png": picture(1), "1.png": picture(1), "dog/1.png": picture(1)}
    rows = read(tmp_path, kind, files)
    found = [row for row in rows if isinstance(row, Finding)]
    assert [(row.reason, row.field, row.id, row.row) for row in found] == [
        ("label_unknown", "folder", "1.png", None),
        ("label_unknown", "folder", "dgo/1.png", None),
    ]
    where = "set.zip" if kind == "zip" else "set"
    assert [row.file for row in found] == [f"{where}/1.png", f"{where}/dgo/1.png"]
    assert "found 'dgo'; expected one of 'cat', 'dog'" in found[1].message
    assert [row.id for row in rows if isinstance(row, Example)] == ["cat/1.png", "dog/1.png"]


def test_rows_of_transfer_have_no_labels(tmp_path):
    source = made(tmp_path, "folder", {"any/1.png": picture(1)}) | {"splits": {"transfer": "set"}}
    (row,) = examples_of(list(source_of(tmp_path / "root", source, TASKS).read("transfer")))
    assert dict(row.labels) == {}


def test_links_that_lead_elsewhere_are_findings(tmp_path):
    source = made(tmp_path, "folder", {"cat/1.png": picture(1), "cat/2.png": picture(2)})
    folder = tmp_path / "root" / "set"
    (tmp_path / "secret.png").write_bytes(picture(9))
    (folder / "cat" / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "cat" / "gone.png").symlink_to(folder / "cat" / "nothing.png")
    (folder / "cat" / "inside.png").symlink_to(folder / "cat" / "2.png")
    rows = list(source_of(tmp_path / "root", source, TASKS).read("train"))
    found = [(row.reason, row.id) for row in rows if isinstance(row, Finding)]
    assert found == [("image_missing", "cat/gone.png"), ("image_missing", "cat/out.png")]
    assert [row.id for row in rows if isinstance(row, Example)] == ["cat/1.png", "cat/2.png", "cat/inside.png"]
    (tmp_path / "elsewhere").mkdir()
    (folder / "dog").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="found the link 'dog' to a folder"):
        list(source_of(tmp_path / "root", source, TASKS).read("train"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_lead_out_of_an_archive_or_are_there_twice(tmp_path):
    source = made(tmp_path, "zip", {"cat/1.png": picture(1), "../cat/2.png": picture(2), "cat/../../3.png": picture(3)})
    with zipfile.ZipFile(tmp_path / "root" / "set.zip", "a") as file:
        file.writestr("cat/1.png", picture(5))
    rows = list(source_of(tmp_path / "root", source, TASKS).read("train"))
    assert [(row.id, getattr(row, "reason", None)) for row in rows] == [
        ("../cat/2.png", "image_missing"),
        ("cat/../../3.png", "image_missing"),
        ("cat/1.png", None),
        ("cat/1.png", "id_repeated"),
    ]


def test_the_same_name_in_two_archives_is_a_finding(tmp_path):
    source = made(tmp_path, "zip", {"cat/1.png": picture(1)})
    archive(tmp_path / "root" / "more.zip", {"cat/1.png": picture(2), "cat/2.png": picture(3)})
    source["splits"] = {"train": ["set.zip", "more.zip"]}
    rows = list(source_of(tmp_path / "root", source, TASKS).read("train"))
    assert "which set.zip has too" in finding_of(rows, "id_repeated").message
    assert [row.id for row in rows] == ["cat/1.png", "cat/1.png", "cat/2.png"]


def test_a_name_that_is_not_utf8_is_a_finding(tmp_path):
    source = made(tmp_path, "folder", {"cat/1.png": picture(1)})
    try:
        Path(os.fsdecode(os.fsencode(tmp_path / "root" / "set" / "cat") + b"/\xff.png")).write_bytes(picture(2))
    except OSError:
        pytest.skip("this file system has UTF-8 names alone")
    found = finding_of(list(source_of(tmp_path / "root", source, TASKS).read("train")), "row_not_utf8")
    str(found).encode()


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_cannot_be_read_is_an_error(tmp_path, kind):
    (tmp_path / "root").mkdir()
    source = made(tmp_path, kind, {"cat/1.png": picture(1)})
    made_card = card(tmp_path / "root", source, TASKS)
    opened = open_source(made_card, {}, tmp_path / "root")
    if kind == "zip":
        for content in (b"", (tmp_path / "root" / "set.zip").read_bytes()[:-30]):
            (tmp_path / "root" / "set.zip").write_bytes(content)
            with pytest.raises(DataError, match=r"set\.zip: cannot be read"):
                list(opened.read("train"))
    else:
        (tmp_path / "root" / "set").rename(tmp_path / "root" / "other")
        with pytest.raises(DataError, match="set: cannot be read"):
            list(opened.read("train"))


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        ({"animal": {"kind": "multilabel", "labels": ["cat"]}}, "expected a task of the kind classify or ordinal"),
        ({"other": TASKS["animal"]}, "expected the card's tasks"),
    ],
)
def test_a_card_with_other_tasks_is_refused(tmp_path, tasks, says):
    with pytest.raises(DataError, match=says):
        source_of(tmp_path / "root", made(tmp_path, "folder", FILES), tasks)
