"""Files of a card: what is missing or changed is named, down to the image, and nothing but content counts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmkd.data import integrity
from mmkd.data.base import DataError
from mmkd.data.integrity import check_files, missing_files, require_files

IMAGES = {f"img{number}.jpg": bytes([number]) * (50 + number) for number in range(5)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data root with a text, a zip of stored members, and a folder with a folder in it."""
    folder = tmp_path / "root" / "tiny"
    (folder / "images" / "more").mkdir(parents=True)
    (folder / "train.txt").write_bytes(b"word\tO\n")
    write_zip(folder / "images.zip", IMAGES)
    for name, content in IMAGES.items():
        (folder / "images" / ("more" if "4" in name else "") / name).write_bytes(content)
    return tmp_path / "root"


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "files"


def write_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content, method)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest(path: Path) -> str:
    """As the docstring of `integrity` says, file by file with nothing of it."""
    if path.is_file():
        return sha256(path.read_bytes())
    lines = []
    for folder, _, names in os.walk(path):
        for name in names:
            whole = os.path.join(folder, name)
            lines.append(f"{digest(Path(whole))}  {os.path.relpath(whole, path).replace(os.sep, '/')}\n")
    return sha256("".join(sorted(lines)).encode())


NAMES = ("tiny/train.txt", "tiny/images.zip", "tiny/images/")


def card_of(root: Path, names: tuple[str, ...] = NAMES) -> SimpleNamespace:
    files = {name: SimpleNamespace(sha256=digest(root / name)) for name in names}
    return SimpleNamespace(path=Path("data_cards/tiny.md"), files=files, obtain="ask the author")


def report(card: SimpleNamespace, root: Path | None, memory: Path) -> str:
    with pytest.raises(DataError) as caught:
        check_files(card, root, memory)
    return str(caught.value)


def flip(path: Path, place: int, bit: int = 0) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def inside(path: Path, content: bytes) -> int:
    """Where an image's bytes stand in its archive."""
    whole = path.read_bytes()
    assert whole.count(content) == 1
    return whole.index(content)


def test_what_is_as_the_card_says_passes_again_and_again(root: Path, memory: Path):
    card = card_of(root)
    for _ in range(3):
        check_files(card, root, memory)
    require_files(card, root)
    assert missing_files(card, root) == []


def test_the_sha256_of_a_folder_is_that_of_the_lines_of_sha256sum(tmp_path: Path, memory: Path):
    for name, content in (("b.txt", b"b"), ("é.txt", b""), ("a/z.txt", b"z")):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    # As `sha256sum` prints them, in the order of `LC_ALL=C sort`.
    lines = (
        "3e23e8160039594a33894f6564e1b1348bbd7a0088d42c4acb73eeaed59c009d  b.txt\n"
        "594e519ae499312b29433b7dd8a97ff068defcba9755b6d5d00e84c524d67b06  a/z.txt\n"
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  é.txt\n"
    )
    card = SimpleNamespace(path=None, files={"set/": SimpleNamespace(sha256=sha256(lines.encode()))}, obtain="x")
    check_files(card, tmp_path, memory)
    card.files["set/"].sha256 = sha256(lines.encode() + b"\n")
    assert sha256(lines.encode()) in report(card, tmp_path, memory)


@pytest.mark.parametrize("name", ["tiny/train.txt", "tiny/images.zip", "tiny/images/img2.jpg"])
def test_a_byte_is_noticed_although_size_and_time_are_as_before(root: Path, memory: Path, name: str):
    card = card_of(root)
    check_files(card, root, memory)
    before = (root / name).stat()
    flip(root / name, 5)
    os.utime(root / name, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = (root / name).stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    listed = next(each for each in card.files if name.startswith(each))
    text = report(card, root, memory)
    assert f"\n{listed}: found sha256 {digest(root / listed)}, expected {card.files[listed].sha256}" in text
    assert text.count("found sha256") == 1


@pytest.mark.parametrize("remembered", [True, False])
def test_one_bit_of_one_image_in_a_zip_names_the_image(root: Path, memory: Path, remembered: bool):
    card, path = card_of(root), root / "tiny" / "images.zip"
    if remembered:
        check_files(card, root, memory)
    flip(path, inside(path, IMAGES["img3.jpg"]) + 20, bit=6)
    text = report(card, root, memory)
    assert "  damaged (cannot be read, or another CRC-32 than their own): img3.jpg\n" in text
    assert not any(name in text for name in IMAGES if name != "img3.jpg")
    assert "as they were" not in text
    assert ("nothing is remembered to compare its 5 members with" in text) != remembered


def test_the_last_bit_of_a_large_image_names_it(tmp_path: Path, memory: Path):
    content = bytes(range(256)) * 8192  # 2 MiB: more than is read at once
    write_zip(tmp_path / "all.zip", {"large.png": content, "small.png": b"small"})
    card = card_of(tmp_path, ("all.zip",))
    flip(tmp_path / "all.zip", inside(tmp_path / "all.zip", content) + len(content) - 1)
    assert "damaged (cannot be read, or another CRC-32 than their own): large.png\n" in report(card, tmp_path, memory)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("place", [3, 4, 9, -1])
def test_a_damaged_byte_of_a_compressed_image_names_it(tmp_path: Path, memory: Path, method: int, place: int):
    path = tmp_path / "all.zip"
    write_zip(path, {name: content + bytes(range(60)) for name, content in IMAGES.items()}, method)
    card = card_of(tmp_path, ("all.zip",))
    with zipfile.ZipFile(path) as archive:
        member = archive.getinfo("img1.jpg")
        start = member.header_offset + 30 + len("img1.jpg")
    content = bytearray(path.read_bytes())
    content[start + place % member.compress_size] ^= 0xFF
    path.write_bytes(content)
    assert re.search(r"damaged \(.*\): img1\.jpg\n", report(card, tmp_path, memory))


def test_one_bit_of_one_image_in_a_folder_names_the_image(root: Path, memory: Path):
    card = card_of(root)
    unknown = card_of(root)
    check_files(card, root, memory)
    flip(root / "tiny" / "images" / "more" / "img4.jpg", 0)
    assert "\n  changed: more/img4.jpg\n" in report(card, root, memory)
    text = report(unknown, root, memory / "elsewhere")
    assert "\n  nothing is remembered to compare its 5 members with\n" in text


def test_images_that_were_replaced_added_and_removed_are_named(root: Path, memory: Path):
    card = card_of(root)
    check_files(card, root, memory)
    others = {name: content for name, content in IMAGES.items() if name != "img0.jpg"}
    others |= {"img2.jpg": b"another", "new.jpg": b"new"}
    write_zip(root / "tiny" / "images.zip", others)
    (root / "tiny" / "images" / "img0.jpg").unlink()
    (root / "tiny" / "images" / "img2.jpg").write_bytes(b"another")
    (root / "tiny" / "images" / "new.jpg").write_bytes(b"new")
    text = report(card, root, memory)
    assert text.count("\n  changed: img2.jpg\n  added: new.jpg\n  removed: img0.jpg\n") == 2
    assert "damaged (" not in text


def test_an_archive_that_was_packed_anew_says_so(root: Path, memory: Path):
    card = card_of(root)
    check_files(card, root, memory)
    write_zip(root / "tiny" / "images.zip", IMAGES, zipfile.ZIP_DEFLATED)
    assert "\n  its members are as they were: packed anew, or damaged outside of them\n" in report(card, root, memory)


def test_ten_names_and_then_a_count(tmp_path: Path, memory: Path):
    members = {f"{number:02}.png": b"content %02d" % number for number in range(13)}
    write_zip(tmp_path / "all.zip", members)
    card = card_of(tmp_path, ("all.zip",))
    for content in members.values():
        flip(tmp_path / "all.zip", inside(tmp_path / "all.zip", content))
    assert "00.png, 01.png, 02.png, 03.png, 04.png, 05.png, 06.png, 07.png, 08.png, 09.png and 3 more\n" in report(
        card, tmp_path, memory
    )


@pytest.mark.parametrize("cut", [0, 1, 60, 200, -10])
def test_a_zip_without_a_directory_is_still_a_clear_error(root: Path, memory: Path, cut: int):
    card, path = card_of(root), root / "tiny" / "images.zip"
    check_files(card, root, memory)
    path.write_bytes(path.read_bytes()[:cut])
    text = report(card, root, memory)
    assert "tiny/images.zip: found sha256" in text
    assert "\n  cannot be read as a zip archive: " in text


def test_no_flipped_bit_of_a_zip_passes_or_raises_anything_else(tmp_path: Path, memory: Path):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(zipfile.ZipInfo("é.png"), b"one", zipfile.ZIP_DEFLATED)
        archive.writestr(zipfile.ZipInfo("b.png"), b"two")
    card, content = card_of(tmp_path, ("two.zip",)), path.read_bytes()
    check_files(card, tmp_path, memory)
    for place in range(len(content)):
        flip(path, place, bit=place % 8)
        assert "two.zip: found sha256" in report(card, tmp_path, memory)
        path.write_bytes(content)
    check_files(card, tmp_path, memory)


def test_all_that_is_missing_or_wrong_comes_at_once(root: Path, memory: Path):
    card = card_of(root)
    (root / "tiny" / "train.txt").unlink()
    flip(root / "tiny" / "images.zip", 40)
    flip(root / "tiny" / "images" / "img0.jpg", 0)
    text = report(card, root, memory)
    assert text.startswith(f"data_cards/tiny.md: files: 1 of 3 files are missing, under {root}:\ntiny/train.txt\n")
    assert "\ntiny/images.zip: found sha256 " in text
    assert "\ntiny/images/: found sha256 " in text
    assert text.endswith("To get them: ask the author")


def test_missing_files_are_named_with_the_root_and_how_to_get_them(root: Path, tmp_path: Path, memory: Path):
    card = card_of(root)
    for where, says in ((tmp_path, f"under {tmp_path}"), (None, "MMKD_DATA is not set")):
        assert missing_files(card, where) == list(NAMES)
        for act in (require_files, lambda card, where: check_files(card, where, memory)):
            with pytest.raises(DataError) as caught:
                act(card, where)
            for part in ("3 of 3 files are missing", says, *NAMES, "Set MMKD_DATA", "ask the author"):
                assert part in str(caught.value)


def test_a_file_in_the_place_of_a_folder_is_missing_and_the_other_way_round(root: Path):
    card = card_of(root)
    card.files = {"tiny/train.txt/": None, "tiny/images": None}
    assert missing_files(card, root) == ["tiny/train.txt/", "tiny/images"]


def test_what_is_remembered_is_whole_and_found_by_content_and_written_once(root: Path, memory: Path):
    card = card_of(root)
    check_files(card, root, memory)
    before = {path: path.stat().st_ino for path in memory.iterdir()}
    check_files(card, root, memory)
    assert {path: path.stat().st_ino for path in memory.iterdir()} == before
    expected = {f"{card.files[name].sha256}.json" for name in ("tiny/images.zip", "tiny/images/")}
    assert {path.name for path in memory.iterdir()} == expected
    (listing,) = [json.loads(path.read_text()) for path in memory.iterdir() if digest(root / NAMES[1]) in path.name]
    assert listing["img2.jpg"] == f"52 bytes, CRC-32 {zipfile.crc32(IMAGES['img2.jpg']):08x}"
    assert listing.keys() == IMAGES.keys()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"img0.jpg": 3}', "\0"])
def test_a_damaged_memory_is_no_memory_and_is_made_anew(root: Path, memory: Path, text: str):
    card, path = card_of(root), root / "tiny" / "images.zip"
    check_files(card, root, memory)
    kept, content = memory / f"{digest(path)}.json", path.read_bytes()
    whole = kept.read_text()
    kept.write_text(text)
    flip(path, inside(path, IMAGES["img0.jpg"]))
    assert "nothing is remembered" in report(card, root, memory)
    path.write_bytes(content)
    check_files(card, root, memory)
    assert kept.read_text() == whole


def test_a_write_that_fails_leaves_nothing_behind(root: Path, memory: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(integrity.json, "dump", broken)
    with pytest.raises(OSError, match="no space left"):
        check_files(card_of(root), root, memory)
    assert list(memory.iterdir()) == []


def test_a_zip_that_the_card_takes_as_it_is_need_not_be_readable(tmp_path: Path, memory: Path):
    (tmp_path / "odd.zip").write_bytes(b"no zip")
    check_files(card_of(tmp_path, ("odd.zip",)), tmp_path, memory)
    assert not memory.exists()


def test_a_good_archive_is_read_once_and_its_members_never(root: Path, memory: Path, monkeypatch: pytest.MonkeyPatch):
    read: list[Path] = []
    real: Callable[[Path], str] = integrity._sha256
    monkeypatch.setattr(integrity, "_sha256", lambda path: read.append(path) or real(path))
    monkeypatch.setattr(zipfile.ZipFile, "open", None)
    card = card_of(root)
    check_files(card, root, memory)
    assert len(read) == len(set(read)) == 2 + len(IMAGES)


def test_a_file_that_cannot_be_opened_is_named(root: Path, memory: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    card = card_of(root)
    monkeypatch.setattr(integrity, "_sha256", refuse)
    assert "\ntiny/train.txt: cannot be read: [Errno 13] Permission denied" in report(card, root, memory)


def test_names_with_line_ends_do_not_break_the_message(tmp_path: Path, memory: Path):
    write_zip(tmp_path / "all.zip", {"one\ntwo": b"content"})
    card = card_of(tmp_path, ("all.zip",))
    flip(tmp_path / "all.zip", inside(tmp_path / "all.zip", b"content"))
    assert r"'one\ntwo'" in report(card, tmp_path, memory)


def test_a_directory_that_lies_about_a_size_is_named(root: Path, memory: Path):
    card, path = card_of(root), root / "tiny" / "images.zip"
    check_files(card, root, memory)
    content = path.read_bytes()
    entry = content.rindex(b"img1.jpg") - 46  # of the central directory; the size stands 24 bytes into it
    assert struct.unpack_from("<I", content, entry + 24) == (51,)
    flip(path, entry + 24)
    assert "\n  changed: img1.jpg\n" in report(card, root, memory)
