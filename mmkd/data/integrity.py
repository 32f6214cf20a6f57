"""Whether the files of a card are there and are what the card says, by their content, every time. No torch here.

A file counts by the sha256 of its bytes. A folder (its name ends with `/`) counts by the sha256 of the lines
`<sha256>  <path within the folder>` of all its files, sorted: inside the folder, the value of
`find . -type f -printf '%P\0' | xargs -0 sha256sum | LC_ALL=C sort | sha256sum`.

What a zip archive or a folder held when it was right is remembered under that sha256, so that after a change the
message names the images that changed. A zip also has a CRC-32 of each member, which names damaged ones without it.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mmkd.data.base import DataError, path_below

if TYPE_CHECKING:
    from mmkd.data.card import Card

NAMED = 10
"""Members that a message names before it counts the rest."""

CHUNK = 1 << 20
"""Bytes of a zip member that are read at once."""

UNREADABLE = (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What `zipfile` raises for damaged archives, by where the damage is; NotImplementedError is a RuntimeError."""

Listing = dict[str, str]
"""Name within a zip or folder -> what tells its content: size and CRC-32, or the sha256."""


def missing_files(card: Card, root: Path | None) -> list[str]:
    """The card's files and folders that are not there."""
    return [name for name in card.files if root is None or not _is_there(root / name, name)]


def _is_there(path: Path, name: str) -> bool:
    return path.is_dir() if name.endswith("/") else path.is_file()


def require_files(card: Card, root: Path | None) -> None:
    """Raise DataError naming the card's files that are not there, or lead elsewhere. Their content is not read."""
    _require_inside(card, root)
    _report(card, root, missing_files(card, root), [])


def check_files(card: Card, root: Path | None, memory: Path) -> None:
    """Compare every file and folder with the card.

    memory: folder of what zips and folders held when they were right; need not be there yet.
    Raises DataError naming all that is missing and all whose sha256 is another than the card's, with the members
    of a zip or folder that are damaged, changed, added or removed, and for files that lead out of the data root;
    OSError when `memory` cannot be written.
    """
    _require_inside(card, root)
    missing = missing_files(card, root)
    wrong = []
    for name, expected in card.files.items():
        if root is not None and name not in missing:
            wrong += _difference(root / name, name, expected.sha256, memory)
    _report(card, root, missing, wrong)


def _require_inside(card: Card, root: Path | None) -> None:
    if root is None:
        return
    for name in card.files:
        path_below(root, name, card.path)


def _report(card: Card, root: Path | None, missing: list[str], wrong: list[str]) -> None:
    if not missing and not wrong:
        return
    where = "MMKD_DATA is not set" if root is None else f"under {root}"
    lines = []
    if missing:
        lines += [f"{len(missing)} of {len(card.files)} files are missing, {where}:", *missing]
        lines.append("Set MMKD_DATA to the folder that holds them.")
    if wrong:
        lines += [f"not as the card says, {where}:", *wrong]
        lines.append("What differs is damaged or another version: get it again.")
    raise DataError(card.path, None, "files", "\n".join([*lines, f"To get them: {card.obtain}"]))


def _difference(path: Path, name: str, expected: str, memory: Path) -> list[str]:
    """Lines about what is wrong with one file or folder, none when it is right; then what it holds is remembered."""
    try:
        listing = folder_listing(path) if path.is_dir() else None
        found = _sha256(path) if listing is None else folder_sha256(listing)
    except OSError as error:
        return [f"{name}: cannot be read: {error}"]
    if found == expected:
        _remember(path, listing, expected, memory)
        return []
    remembered = _recall(expected, memory)
    lines = [f"{name}: found sha256 {found}, expected {expected}"]
    if listing is not None:
        return [*lines, *_compared(listing, remembered)]
    return [*lines, *_zip_difference(path, remembered)] if _is_zip(path) else lines


def folder_listing(folder: Path) -> Listing:
    """sha256 of every file below a folder, by its path within it.

    Raises OSError for a link that leads out of the folder.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    inside = folder.resolve()
    if beyond := [path for path in files if path.is_symlink() and not path.resolve().is_relative_to(inside)]:
        raise OSError(f"found the link {beyond[0]}, which leads out of the folder; put the file itself there")
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in files}


def folder_sha256(listing: Listing) -> str:
    """One sha256 for a folder, as cards hold it."""
    lines = sorted(f"{sha256}  {name}\n" for name, sha256 in listing.items())
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_zip(path: Path) -> bool:
    # By name: a damaged archive does not look like one.
    return path.suffix.lower() == ".zip"


def _zip_listing(archive: zipfile.ZipFile) -> Listing:
    return {each.filename: f"{each.file_size} bytes, CRC-32 {each.CRC:08x}" for each in archive.infolist()}


def _zip_difference(path: Path, remembered: Listing | None) -> Iterator[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            listing = _zip_listing(archive)
            damaged = [each.filename for each in archive.infolist() if not _is_intact(archive, each)]
    except UNREADABLE as error:
        yield f"  cannot be read as a zip archive: {error}"
        return
    if damaged:
        yield f"  damaged (cannot be read, or another CRC-32 than their own): {_named(damaged)}"
    differences = list(_compared(listing, remembered))
    yield from differences
    if not damaged and not differences:
        yield "  its members are as they were: packed anew, or damaged outside of them"


def _is_intact(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(member) as file:
            while file.read(CHUNK):
                pass
    except UNREADABLE:
        return False
    return True


def _compared(found: Listing, remembered: Listing | None) -> Iterator[str]:
    if remembered is None:
        yield f"  nothing is remembered to compare its {len(found)} members with"
        return
    changes = {
        "changed": [name for name in found if name in remembered and found[name] != remembered[name]],
        "added": [name for name in found if name not in remembered],
        "removed": [name for name in remembered if name not in found],
    }
    for word, names in changes.items():
        if names:
            yield f"  {word}: {_named(names)}"


def _named(names: list[str]) -> str:
    shown = [name if name.isprintable() else repr(name) for name in names[:NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _remember(path: Path, listing: Listing | None, sha256: str, memory: Path) -> None:
    """Write down what a zip or folder of this sha256 holds, whole or not at all, where it is not known yet."""
    if (listing is None and not _is_zip(path)) or _recall(sha256, memory) is not None:
        return
    if listing is None:
        try:
            with zipfile.ZipFile(path) as archive:
                listing = _zip_listing(archive)
        except UNREADABLE:  # it is what the card says; whoever reads its members says what is wrong with it
            return
    memory.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{sha256}-", dir=memory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(listing, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(_place(sha256, memory))
    finally:
        Path(temporary).unlink(missing_ok=True)


def _recall(sha256: str, memory: Path) -> Listing | None:
    """What a container of this sha256 held; None when it is not known, or what is written down cannot be read."""
    try:
        listing = json.loads(_place(sha256, memory).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    readable = isinstance(listing, Mapping) and all(isinstance(value, str) for value in listing.values())
    return dict(listing) if readable else None


def _place(sha256: str, memory: Path) -> Path:
    return memory / f"{sha256}.json"
