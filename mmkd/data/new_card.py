"""Writes a card for files that have none: what can be read from the files is filled in, the rest is marked.

Columns are guessed by their names and values; a guess is a start for a person to correct, never a definition that a
run relies on: a card with a mark in it does not pass `mmkd data check`. No torch here.
"""

from __future__ import annotations

import io
import re
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML

from mmkd.arrays import file_hash
from mmkd.data._guess import KINDS, Guess, guess_columns, guess_conll, read_tables
from mmkd.data._images import DAMAGE
from mmkd.data.base import SPLITS, DataError
from mmkd.data.card import Card, data_root, open_source, read_card
from mmkd.data.card_text import SECTIONS, TO_WRITE
from mmkd.data.hub_keys import hub_keys
from mmkd.data.integrity import folder_listing, folder_sha256

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "unlabelled": "transfer",
    "unlabeled": "transfer",
    "transfer": "transfer",
    **dict.fromkeys(("dev", "devel", "val", "valid", "validation"), "validation"),
    "test": "test",
    "testing": "test",
}
"""Split by a word in a file's name; a file whose name says none is of `train`."""


def write_card(name: str, paths: Sequence[Path], folder: Path) -> Path:
    """Write `<folder>/<name>.md`, and say where.

    paths: the tables of the splits, with a zip archive or a folder of images if there are any; or one folder, which
    holds all that, or an image folder with a folder for each class.
    Raises DataError when there is a card of that name, or the files are not below the data root or of no known kind.
    """
    card = folder / f"{name}.md"
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise DataError(None, None, None, f"found the name {name!r}; expected letters, digits, `_`, `-` and dots")
    if card.exists():
        raise DataError(card, None, None, "the card is there; choose another name, or edit it")
    front = _front(name, _inside(paths))
    counted = _as_read(front)
    # An empty split is stated as one row, since cards state none without a row; the check will find it.
    front["mmkd"]["splits"] = {str(split): max(1, rows) for split, rows in counted.splits.items()}
    front = {key: value for key, value in front.items() if key != "mmkd"} | hub_keys(counted) | {"mmkd": front["mmkd"]}
    folder.mkdir(parents=True, exist_ok=True)
    card.write_text(_text(name, front), "utf-8")
    return card


def _inside(paths: Sequence[Path]) -> list[Path]:
    """The files and folders meant: for one folder with tables, those and what holds images beside them."""
    for path in paths:
        if not path.exists():
            raise DataError(path, None, None, "is not there; expected the files of the data set")
    inner = sorted(each for path in paths if path.is_dir() for each in path.iterdir() if not each.name.startswith("."))
    if len(paths) == 1 and any(_is_table(each) for each in inner):
        return [each for each in inner if _is_table(each) or _is_zip(each) or (each.is_dir() and any(each.iterdir()))]
    return list(paths)


def _is_table(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() in KINDS


def _is_zip(path: Path) -> bool:
    return path.is_file() and path.suffix.lower() == ".zip"


def _front(name: str, paths: Sequence[Path]) -> dict[str, Any]:
    named = {path: _below_the_root(path) for path in paths}
    tables = [path for path in paths if _is_table(path)]
    holders = [path for path in paths if path.is_dir() or _is_zip(path)]
    kinds = sorted({KINDS[path.suffix.lower()] for path in tables})
    if len(kinds) > 1:
        raise DataError(None, None, None, f"found tables of the kinds {', '.join(kinds)}; expected one kind")
    if not tables and not holders:
        found, known = ", ".join(map(str, paths)), ", ".join(KINDS)
        raise DataError(None, None, None, f"found no table among {found}; expected a file with {known}, or a folder")
    if not tables:
        parts = [part for holder in holders for part in _split_folders(holder)]
        return _with_block(
            name, "image_folder", {part: _below_the_root(part) for part in parts}, parts, _classes(parts)
        )
    if kinds == ["conll"]:
        return _with_block(name, "conll", {path: named[path] for path in tables}, tables, guess_conll(tables))
    # The first archive or folder is where images are looked for; a person names another.
    place = {"archive" if _is_zip(each) else "folder": named[each].rstrip("/") for each in holders[:1]}
    guess = guess_columns(read_tables(tables, kinds[0]), place, _names_in(holders[0]) if holders else set())
    used = {path: named[path] for path in (*tables, *(holders[:1] if "image" in guess.source else []))}
    return _with_block(name, kinds[0], used, tables, guess)


def _with_block(name: str, kind: str, files: dict[Path, str], of_splits: list[Path], guess: Guess) -> dict[str, Any]:
    splits: dict[str, list[str]] = {}
    for path in sorted(of_splits, key=lambda path: SPLITS.index(_split_of(path))):
        splits.setdefault(_split_of(path), []).append(files[path].rstrip("/"))
    has_text = kind == "conll" or bool({"text", "words"} & guess.source.keys())
    has_image = kind == "image_folder" or "image" in guess.source
    block = {
        "version": 1,
        "source": {
            "kind": kind,
            "splits": {split: paths[0] if len(paths) == 1 else paths for split, paths in splits.items()},
            **guess.source,
        },
        "files": {each: {"sha256": _sha256(path)} for path, each in files.items()},
        "obtain": TO_WRITE,
        "modalities": [*(["text"] if has_text else []), *(["image"] if has_image else [])],
        "tasks": guess.tasks,
        "splits": dict.fromkeys(splits, 1),
        "pii": {"present": True, "note": TO_WRITE},
    }
    return {"pretty_name": name, "license": TO_WRITE, "language": [TO_WRITE], "mmkd": block}


def _split_folders(path: Path) -> list[Path]:
    """The folders of the splits in an image folder, or itself where its folders are the classes."""
    if not path.is_dir():
        return [path]
    return sorted(each for each in path.iterdir() if each.is_dir() and each.name.lower() in SPLIT_WORDS) or [path]


def _classes(holders: Sequence[Path]) -> Guess:
    """The task of an image folder: its classes are the folders that the images lie in."""
    found = sorted({PurePosixPath(each).parent.name for holder in holders for each in _names_in(holder)} - {""})
    if len(found) < 2:
        message = f"found {len(found)} folders of images; expected one for each class, or a table beside the images"
        raise DataError(holders[0], None, None, message)
    return Guess({"task": "label"}, {"label": {"kind": "classify", "labels": found}})


def _names_in(holder: Path) -> set[str]:
    """Names of all files in a folder or an archive."""
    if holder.is_dir():
        return {each.relative_to(holder).as_posix() for each in holder.rglob("*") if each.is_file()}
    try:
        with zipfile.ZipFile(holder) as archive:
            return {each.filename for each in archive.infolist() if not each.is_dir()}
    except DAMAGE as error:
        raise DataError(holder, None, None, f"cannot be read as a zip archive: {error}; get it again") from error


def _below_the_root(path: Path) -> str:
    root = data_root()
    if root is None or not path.resolve().is_relative_to(root.resolve()):
        raise DataError(path, None, None, f"is not below MMKD_DATA ({root}); put the data set's folder there")
    return path.resolve().relative_to(root.resolve()).as_posix() + "/" * path.is_dir()


def _split_of(path: Path) -> str:
    words = re.split(r"[\W_]+", path.stem.lower())
    return next((SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS), "train")


def _sha256(path: Path) -> str:
    return folder_sha256(folder_listing(path)) if path.is_dir() else file_hash(path)


def _as_read(front: dict[str, Any]) -> Card:
    """The card, with the rows that its source gives."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new.md"
        path.write_text(_text("new", front), "utf-8")
        card = read_card(path)
    source = open_source(card, {}, data_root())
    return card.model_copy(update={"splits": {split: sum(1 for _ in source.read(split)) for split in card.splits}})


def _text(name: str, front: dict[str, Any]) -> str:
    body = "\n\n".join([f"# {name}", *(f"## {heading}\n{TO_WRITE}: {text}." for heading, text in SECTIONS.items())])
    stream, yaml = io.StringIO(), YAML()
    yaml.default_flow_style, yaml.width = None, 120
    yaml.dump(front, stream)
    return f"---\n{stream.getvalue()}---\n\n{body}\n"
