"""Images by name: archives in several processes, and damaged archives."""

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny_sets import archive, picture

from mmkd.data._images import FolderImages, ZipImages
from mmkd.data.base import DataError


@pytest.fixture
def images(tmp_path: Path) -> ZipImages:
    archive(tmp_path / "a.zip", {f"{number}.png": picture(number) for number in range(20)})
    return ZipImages(tmp_path / "a.zip")


def test_members_are_read_by_name(images):
    assert images.has("3.png")
    assert not images.has("../3.png")
    assert images.read("3.png") == picture(3)
    with pytest.raises(DataError, match=r"a\.zip: gone\.png: found no such member"):
        images.read("gone.png")


def test_another_process_gets_its_own_open_file(images, monkeypatch):
    images.read("1.png")
    opened = images._zip()
    assert images._zip() is opened
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert images._zip() is not opened
    opened.close()
    assert images.read("2.png") == picture(2)


def test_it_travels_to_other_processes_by_pickle(images):
    images.read("1.png")
    assert pickle.loads(pickle.dumps(images)).read("1.png") == picture(1)


def test_threads_may_share_it(images):
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: images.read(f"{number % 20}.png"), range(200)))
    assert found == [picture(number % 20) for number in range(200)]


def test_a_damaged_member_is_an_error(images):
    content = bytearray(images.where.read_bytes())
    place = content.index(picture(5)) + 40
    content[place] ^= 1
    images.where.write_bytes(content)
    assert images.read("4.png") == picture(4)
    with pytest.raises(DataError, match=r"a\.zip: 5\.png: cannot be read"):
        images.read("5.png")


def test_an_archive_that_is_none_is_an_error(tmp_path):
    (tmp_path / "a.zip").write_text("no zip")
    for name in ("a.zip", "gone.zip"):
        with pytest.raises(DataError, match=f"{name}: cannot be read as a zip archive"):
            ZipImages(tmp_path / name).has("1.png")


def test_a_folder_gives_only_what_lies_inside(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "1.png").write_bytes(picture(1))
    (tmp_path / "out.png").write_bytes(picture(2))
    images = FolderImages(tmp_path / "in")
    assert images.read("1.png") == picture(1)
    for name in ("../out.png", str(tmp_path / "out.png"), "2.png"):
        with pytest.raises(DataError, match="found no such file"):
            images.read(name)


def test_an_encrypted_member_is_an_error(images):
    content = bytearray(images.where.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # the bit that says encrypted, in both headers
        content[content.index(mark) + flags] |= 1
    images.where.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.zip: 0\.png: cannot be read: .*encrypted"):
        images.read("0.png")


def test_an_archive_cut_anywhere_raises_nothing_else(images):
    content = images.where.read_bytes()
    for length in range(0, len(content), 41):
        images.where.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.zip: cannot be read as a zip archive"):
            ZipImages(images.where).has("1.png")


def test_names_that_no_file_can_have_are_not_in_a_folder(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    images = FolderImages(tmp_path)
    assert not any(images.has(name) for name in ("a\0b", "x" * 5000, "\ud83d.png", "loop", "", "."))
