"""Hostile data: what leads out of the data root, or unpacks without bound, is refused and not read."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from made_images import png
from tiny_sets import archive, card, finding_of, picture, source_of, written

from mmkd.config.local import is_inside, local_path
from mmkd.data import _files, _images, digits, hf_datasets
from mmkd.data._decode import ImageFlaw, decoded
from mmkd.data._images import FolderImages, ZipImages
from mmkd.data.base import DataError, Source, path_below
from mmkd.data.card import CardError, open_source, read_card
from mmkd.data.integrity import check_files, folder_listing

ANIMALS = {"animal": {"kind": "classify", "labels": ["cat", "dog"]}}
MOODS = {"mood": {"kind": "classify", "labels": ["bad", "good"]}}
COLUMNS = {"id": "id", "text": "text", "labels": {"mood": {"column": "mood"}}}
SECRET = "outside.png"
OUTSIDE = ("../../outside.png", "cat/../../../outside.png", "/etc/hostname", "./../../outside.png", "..")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty data root, beside which lies an image that is none of its files."""
    (tmp_path / "root").mkdir()
    (tmp_path / SECRET).write_bytes(picture(9))
    return tmp_path / "root"


def rows_with_images(root: Path, names: list[str], place: dict[str, Any]) -> Source:
    """A CSV table whose rows name these images."""
    lines = [f"{number},x,good,{name}" for number, name in enumerate(names)]
    (root / "rows.csv").write_text("\n".join(["id,text,mood,image", *lines, ""]), "utf-8")
    source = {"kind": "csv", "splits": {"train": "rows.csv"}, **COLUMNS, "image": {"column": "image", **place}}
    return source_of(root, source, MOODS)


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_row_cannot_name_an_image_outside_its_folder(root: Path, name: str) -> None:
    (root / "images").mkdir()
    (root / "images" / "in.png").write_bytes(picture(1))
    rows = list(rows_with_images(root, ["in.png", name], {"folder": "images"}).read("train"))
    assert finding_of(rows, "image_missing").row == 3


@pytest.mark.parametrize("name", [*OUTSIDE, "a\\..\\..\\b.png"])
def test_a_row_cannot_name_a_member_that_leads_out_of_an_archive(root: Path, name: str) -> None:
    archive(root / "images.zip", {"in.png": picture(1), name: picture(2)})
    rows = list(rows_with_images(root, ["in.png", name], {"archive": "images.zip"}).read("train"))
    assert finding_of(rows, "image_missing").row == 3
    assert not ZipImages(root / "images.zip").has(name)


def test_zip_slip_writes_nothing_and_is_no_row(root: Path) -> None:
    archive(root / "set.zip", {"cat/in.png": picture(1), "../cat/slip.png": picture(2)})
    source = {"kind": "image_folder", "splits": {"train": "set.zip"}, "task": "animal"}
    rows = list(source_of(root, source, ANIMALS).read("train"))
    assert "leads elsewhere" in finding_of(rows, "image_missing").message
    assert sorted(path.name for path in root.parent.rglob("*")) == sorted(["root", "set.zip", "tiny.md", SECRET])


def test_a_link_out_of_a_folder_of_images_is_refused(root: Path) -> None:
    (root / "cat").mkdir()
    (root / "cat" / "in.png").write_bytes(picture(1))
    folder_listing(root)
    (root / "cat" / "out.png").symlink_to(root.parent / SECRET)
    assert not FolderImages(root).has("cat/out.png")
    with pytest.raises(OSError, match=r"out.png, which leads out of the folder"):
        folder_listing(root)


def linked(root: Path, name: str) -> None:
    """Move a file out of the root, and leave a link to it."""
    (root / name).rename(root.parent / "moved")
    (root / name).symlink_to(root.parent / "moved")


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "lines", "parquet", "hf_dataset"])
def test_a_file_that_is_a_link_out_of_the_root_is_refused(root: Path, kind: str) -> None:
    source = written(kind, root, [{"id": "a", "text": "x", "mood": "good"}], ("id", "text", "mood")) | COLUMNS
    own = card(root, source, MOODS)
    check_files(own, root, root.parent / "memory")
    opened = open_source(own, {}, root)
    linked(root, next(iter(own.files)).rstrip("/"))
    steps: list[Callable[[], Any]] = [
        lambda: open_source(own, {}, root),
        lambda: check_files(own, root, root.parent / "memory"),
        lambda: list(opened.read("train")),
    ]
    for step in steps:
        with pytest.raises(DataError, match="leads out of the data root"):
            step()


@pytest.mark.parametrize("kind", ["sroie", "propaganda", "image_folder", "csv"])
def test_an_archive_or_a_second_file_that_is_a_link_is_refused(root: Path, kind: str) -> None:
    name = "second.json" if kind == "propaganda" else "second.zip"
    linked_file = root / name
    linked_file.symlink_to(root.parent / SECRET)
    with pytest.raises(DataError, match=f"{name} leads out of the data root"):
        path_below(root, name, root)
    sources: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "sroie": ({"splits": {"train": "first.zip"}, "images": name}, _receipts()),
        "propaganda": (
            {"splits": {"train": "first.jsonl"}, "spans": {"train": name}, "id": "id", "text": "text", "labels": {}},
            {},
        ),
        "image_folder": ({"splits": {"train": name}, "task": "animal"}, ANIMALS),
        "csv": ({"splits": {"train": "first.csv"}, **COLUMNS, "image": {"column": "i", "archive": name}}, MOODS),
    }
    source, tasks = sources[kind]
    for first in ("first.zip", "first.jsonl", "first.csv"):
        (root / first).write_bytes(b"")
    with pytest.raises(DataError, match=f"{name} leads out of the data root"):
        source_of(root, {"kind": kind, **source}, tasks)


def _receipts() -> dict[str, Any]:
    fields = ("COMPANY", "DATE", "ADDRESS", "TOTAL")
    return {"fields": {"kind": "tag", "scheme": "BIO", "labels": ["O", *(f"{p}-{f}" for f in fields for p in "BI")]}}


@pytest.mark.parametrize("name", ["../rows.csv", "/etc/passwd", "a/../../rows.csv", "./rows.csv", "a//rows.csv"])
def test_a_card_cannot_name_a_file_outside_the_root(root: Path, name: str) -> None:
    (root / "rows.csv").write_text("id,text,mood\n", "utf-8")
    source = {"kind": "csv", "splits": {"train": "rows.csv"}, **COLUMNS}
    path = card(root, source, MOODS).path
    path.write_text(path.read_text("utf-8").replace('"rows.csv"', json.dumps(name)), "utf-8")
    with pytest.raises(CardError, match="expected a plain path below the data root"):
        read_card(path)


def test_an_option_cannot_name_a_file_that_the_card_does_not_list(root: Path) -> None:
    (root / "rows.csv").write_text("id,text,mood\n", "utf-8")
    own = card(root, {"kind": "csv", "splits": {"train": "rows.csv"}, **COLUMNS}, MOODS)
    with pytest.raises(CardError, match=r"\.\./\.\./etc/passwd is read but not listed"):
        open_source(own, {"splits": {"train": "../../etc/passwd"}}, root)


@pytest.mark.parametrize(
    ("kind", "file", "content"),
    [
        ("hf_dataset", "state.json", {"_data_files": [{"filename": "../../outside.arrow"}]}),
        ("hf_dataset", "state.json", {"_data_files": [{"filename": "/outside.arrow"}]}),
        ("hf_dict", "dataset_dict.json", {"splits": ["train", "../../other"]}),
        ("hf_dict", "dataset_dict.json", {"splits": [".."]}),
        ("hf_dict", "train/state.json", {"_data_files": [{"filename": "../../outside.arrow"}]}),
    ],
)
def test_a_saved_data_set_cannot_name_files_outside_its_folder(
    root: Path, kind: str, file: str, content: dict[str, Any]
) -> None:
    source = written(kind, root, [{"id": "a", "text": "x", "mood": "good"}], ("id", "text", "mood")) | COLUMNS
    assert len(list(source_of(root, source, MOODS).read("train"))) == 1
    path = root / "rows" / file
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | content), "utf-8")
    with pytest.raises(DataError, match=r"json: names '.*', which leads out of the folder"):
        list(source_of(root, source, MOODS).read("train"))


def test_a_row_of_the_hub_cannot_name_a_file_of_this_machine(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "id": ["a"],
        "text": ["x"],
        "mood": ["good"],
        "image": [{"bytes": None, "path": str(root.parent / SECRET)}],
    }
    features = {name: datasets.Value("string") for name in ("id", "text", "mood")} | {"image": datasets.Image()}
    saved = datasets.Dataset.from_dict(values, datasets.Features(features))
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: saved)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(root))
    source = {"kind": "hf_datasets", "hub": "o/s", "revision": "0" * 40, "splits": {"train": "train"}}
    rows = list(source_of(root, {**source, **COLUMNS, "image": {"column": "image"}}, MOODS).read("train"))
    finding_of(rows, "image_missing")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(root.parent))  # the control
    (row,) = source_of(root, {**source, **COLUMNS, "image": {"column": "image"}}, MOODS).read("train")
    assert row.image() == picture(9)


@pytest.mark.parametrize("hub", ["pandas", "../set", "./set", "/abs/set", "a/../b", "a/b/c", "owner/.."])
def test_a_name_of_the_hub_is_an_owner_and_a_name(hub: str) -> None:
    with pytest.raises(ValueError, match="hub"):
        hf_datasets.Config(**COLUMNS, hub=hub, revision="0" * 40, splits={"train": "train"})


def test_a_folder_of_the_hubs_name_is_not_taken_for_the_hubs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "owner" / "set").mkdir(parents=True)
    monkeypatch.chdir(root)
    source = {"kind": "hf_datasets", "hub": "owner/set", "revision": "0" * 40, "splits": {"train": "train"}}
    with pytest.raises(DataError, match="found owner/set in the working folder"):
        list(source_of(root, source | COLUMNS, MOODS).read("train"))


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed package whose code makes a canary when it is imported."""
    folder = tmp_path / "site" / "hostile_package"
    (folder / "inner").mkdir(parents=True)
    canary = tmp_path / "canary"
    (folder / "__init__.py").write_text(f"open({str(canary)!r}, 'w').close()\n", "utf-8")
    (folder / "weights.safetensors").write_bytes(b"")
    (tmp_path / "site" / "other.safetensors").write_bytes(b"")
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield folder
    assert not canary.exists()
    assert "hostile_package" not in sys.modules


def test_a_file_of_a_package_lies_in_it_and_imports_nothing(installed: Path) -> None:
    assert local_path("package:hostile_package/weights.safetensors") == installed / "weights.safetensors"
    for named in ("hostile_package/../other.safetensors", f"hostile_package/{installed.parent}/other.safetensors"):
        assert local_path(f"package:{named}") is None
    for named in ("hostile_package.inner/../weights.safetensors", "hostile_package.inner/x", "/x", ".x/y", ""):
        assert local_path(f"package:{named}") is None


def test_names_that_lead_out() -> None:
    assert all(map(is_inside, ("a", "a/b.png", "..a/b..", "a/...")))
    assert not any(map(is_inside, ("", "..", "../a", "a/..", "/a", "a/../../b", "\\a", "a\\..\\b", "a\0b")))


def test_a_zip_member_without_bound_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_images, "LARGEST", 10_000)
    with zipfile.ZipFile(root / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb.png", bytes(10_001))
        file.writestr("fits.png", bytes(10_000))
    (root / "bomb.png").write_bytes(bytes(10_001))
    assert (root / "bomb.zip").stat().st_size < 1000
    assert len(ZipImages(root / "bomb.zip").read("fits.png")) == 10_000
    for images in (ZipImages(root / "bomb.zip"), FolderImages(root)):
        with pytest.raises(DataError, match="found an image file of 10,001 bytes; expected at most 10,000"):
            images.read("bomb.png")


def test_a_zip_member_that_lies_about_its_size_is_not_read_beyond_it(root: Path) -> None:
    path = root / "lie.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", bytes(2**20))
    size = (2**20).to_bytes(4, "little")
    assert path.read_bytes().count(size) == 2
    path.write_bytes(path.read_bytes().replace(size, (100).to_bytes(4, "little")))
    with pytest.raises(DataError, match="cannot be read"):
        ZipImages(path).read("a.png")


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded() -> None:
    # Pillow itself refuses no less than 179 million
    with pytest.raises(ImageFlaw, match="expected at most") as caught:
        decoded(png(10_000, 10_000, 8, 2, b""))
    assert caught.value.reason == "image_bomb"


def test_a_document_without_bound_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"id": "a", "text": "x", "mood": "good"}
    source = written("json", root, [row], tuple(row)) | COLUMNS
    assert len(list(source_of(root, source, MOODS).read("train"))) == 1
    monkeypatch.setattr(_files, "LONGEST_DOCUMENT", 20)
    with pytest.raises(DataError, match="found more than 20 bytes of one document"):
        list(source_of(root, source, MOODS).read("train"))


def test_the_digits_are_not_unpacked_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / "bomb.gz"
    bomb.write_bytes(gzip.compress(bytes(digits.LONGEST + 2)))
    monkeypatch.setattr(digits, "FILE", str(bomb))
    monkeypatch.setattr(digits, "SHA256", hashlib.sha256(bytes(digits.LONGEST + 1)).hexdigest())
    with pytest.raises(DataError, match="found other content"):
        list(digits.Source(digits.Config(), None, None).read("train"))


def test_a_card_without_bound_is_refused(root: Path) -> None:
    (root / "rows.csv").write_text("id,text,mood\n", "utf-8")
    path = card(root, {"kind": "csv", "splits": {"train": "rows.csv"}, **COLUMNS}, MOODS).path
    path.write_text(path.read_text("utf-8") + "x" * 2_000_000, "utf-8")
    with pytest.raises(CardError, match="expected a card of at most"):
        read_card(path)


@pytest.mark.parametrize("tag", ["!!python/object/apply:os.mkdir [{}]", "!!python/name:os.system ''", "!evil x"])
def test_a_tag_in_a_card_is_refused(root: Path, tag: str) -> None:
    canary = root.parent / "canary"
    (root / "rows.csv").write_text("id,text,mood\n", "utf-8")
    path = card(root, {"kind": "csv", "splits": {"train": "rows.csv"}, **COLUMNS}, MOODS).path
    path.write_text(path.read_text("utf-8").replace('"Tiny"', tag.format(json.dumps(str(canary)))), "utf-8")
    with pytest.raises(CardError, match="found the tag"):
        read_card(path)
    assert not canary.exists()
