"""Guesses what files hold, by the names and values of their columns: a start for a card, for a person to correct.

No torch here.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmkd.data._columns import as_text
from mmkd.data._json import parse, parse_document
from mmkd.data.base import DataError

KINDS = {
    ".jsonl": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".conll": "conll",
    ".bio": "conll",
    ".iob": "conll",
    ".iob2": "conll",
}
"""Kind of source by the ending of a table."""

ID_NAMES = ("id", "key", "index", "name")
TEXT_NAMES = ("text", "sentence", "tweet", "content", "headline", "title")

MOST_LABELS = 30
"""A column with more different values than this is no label."""


@dataclass(frozen=True)
class Table:
    """The columns of files of one kind: name -> values, as sources give them. images: those that hold images.

    form: further keys of the source, about how the files are written.
    """

    columns: dict[str, list[Any]]
    images: tuple[str, ...] = ()
    form: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Guess:
    """source: the keys of a card's source but `kind` and `splits`. tasks: of the card."""

    source: dict[str, Any]
    tasks: dict[str, Any]


def read_tables(files: Sequence[Path], kind: str) -> Table:
    """The rows of all files together; rows that cannot be read are left to the check.

    Raises DataError for a file that cannot be read at all.
    """
    objects: list[dict[str, Any]] = []
    images: dict[str, None] = {}
    form: dict[str, Any] = {}
    for file in files:
        if kind == "parquet":
            rows, held = _parquet(file)
            images |= dict.fromkeys(held)
        else:
            text, encoding = _text(file)
            form |= encoding | ({"separator": "\t", "quote": None} if file.suffix.lower() == ".tsv" else {})
            rows = {"jsonl": _lines, "json": _document}.get(kind, _cells)(text, file)
        objects += rows
    names = dict.fromkeys(name for each in objects for name in each)
    return Table({name: [each.get(name) for each in objects] for name in names}, tuple(images), form)


def guess_columns(table: Table, place: dict[str, str], names: set[str]) -> Guess:
    """What the columns are. place: `archive` or `folder` -> where images lie, if they do; names: theirs in it.

    Raises DataError when there is neither text nor an image.
    """
    texts = {
        name: [each for each in values if isinstance(each, str)]
        for name, values in table.columns.items()
        if all(isinstance(each, str | bool) or each is None for each in values)
    }
    source: dict[str, Any] = {"id": next((name for name in texts if _is_id(name, table.columns[name])), None)}
    image = next(iter(table.images), None) or next((n for n in texts if _are_among(texts[n], names)), None)
    words = next((name for name in table.columns if _are_words(name, table.columns[name])), None)
    text = (
        None if words is not None else _text_column({n: v for n, v in texts.items() if n not in (source["id"], image)})
    )
    if words is None and text is None and image is None:
        found = ", ".join(table.columns) or "none"
        raise DataError(None, None, None, f"found no column of texts, words or images among: {found}; write the card")
    source |= {key: column for key, column in (("text", text), ("words", words)) if column is not None}
    if image is not None:
        source["image"] = {"column": image, **({} if image in table.images else place)}
    tasks: dict[str, Any] = {}
    labels: dict[str, Any] = {}
    for name, values in table.columns.items():
        if name in (source["id"], text, words, image):
            continue
        task = _tags(values, table.columns[words]) if words is not None else None
        task = task or (_classes(values) if name in texts else None)
        if task is not None:
            tasks[task_name(name)] = task
            missing = [each for each in (None, "") if each in values]
            labels[task_name(name)] = {"column": name, **({"missing": missing} if missing else {})}
    return Guess(source | {"labels": labels} | table.form, tasks)


def guess_conll(files: Sequence[Path]) -> Guess:
    """The separator, the column of the tag, and the entity types of files with a word a line.

    Raises DataError when no line ends with a tag of the form `B-TYPE`.
    """
    lines = [line for file in files for line in _text(file)[0].split("\n") if line.strip()]
    separator = "\t" if any("\t" in line for line in lines) else " "
    rows = [line.rstrip("\r").split(separator) for line in lines]
    found = dict.fromkeys(row[-1][2:] for row in rows if len(row) > 1 and re.match("[BI]-.", row[-1]))
    if not found:
        raise DataError(files[0], None, None, "found no line that ends with a tag like `B-PER`; write the card")
    tag = max(len(row) for row in rows if re.match("[BI]-.", row[-1])) - 1
    form = _text(files[0])[1] | ({} if separator == "\t" else {"separator": separator})
    return Guess({"task": "ner", **form, "tag": tag}, {"ner": _tag_task(found)})


def task_name(column: str) -> str:
    """A column's name as a task may be called."""
    name = re.sub(r"\W+", "_", column, flags=re.ASCII).strip("_")
    return name if re.match("[A-Za-z]", name) else f"task_{name}".rstrip("_")


def _text(file: Path) -> tuple[str, dict[str, str]]:
    raw = file.read_bytes()
    mark = raw.startswith(codecs.BOM_UTF8)
    try:
        return raw.decode("utf-8-sig"), {"encoding": "utf-8-sig"} if mark else {}
    except UnicodeDecodeError as error:
        message = f"found byte {error.start} that is not UTF-8; expected UTF-8: convert the file, or write the card"
        raise DataError(file, None, None, message) from error


def _lines(text: str, file: Path) -> list[dict[str, Any]]:
    found = []
    for line in text.split("\n"):
        try:
            found.append(parse(line))
        except ValueError:
            continue
    return [each for each in found if isinstance(each, dict)]


def _document(text: str, file: Path) -> list[dict[str, Any]]:
    try:
        document = parse_document(text)
    except ValueError as error:
        raise DataError(file, None, None, f"{error}; expected one JSON document") from error
    if isinstance(document, dict):
        return [{"key": key, **each} for key, each in document.items() if isinstance(each, dict)]
    return [each for each in document if isinstance(each, dict)] if isinstance(document, list) else []


def _cells(text: str, file: Path) -> list[dict[str, Any]]:
    dialect: dict[str, Any] = {"delimiter": ","}
    if file.suffix.lower() == ".tsv":
        dialect = {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), **dialect))
    except csv.Error as error:
        raise DataError(file, None, None, f"{error}; expected a table with a separator") from error
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:] if len(row) == len(rows[0])]


def _parquet(file: Path) -> tuple[list[dict[str, Any]], list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as opened:
            kinds = {each.name: each.type for each in opened.schema_arrow}
            images = [
                name
                for name, kind in kinds.items()
                if pa.types.is_binary(kind)
                or pa.types.is_large_binary(kind)
                or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)
            ]
            rows = opened.read(columns=[name for name in kinds if name not in images]).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DataError(file, None, None, f"cannot be read as Parquet: {error}") from error
    return [{name: as_text(value) for name, value in row.items()} for row in rows], images


def _is_id(name: str, values: list[Any]) -> bool:
    return name.lower() in ID_NAMES and all(values) and len(set(values)) == len(values)


def _are_among(values: list[str], names: set[str]) -> bool:
    """Whether most values are names of images."""
    return sum(each in names for each in values) > len(values) / 2


def _are_words(name: str, values: list[Any]) -> bool:
    there = [each for each in values if each is not None]
    lists = bool(there) and all(isinstance(each, list) and all(isinstance(w, str) for w in each) for each in there)
    return lists and name.lower() in ("words", "tokens")


def _text_column(columns: dict[str, list[str]]) -> str | None:
    """The column whose name says so, otherwise that with the most words in a value, more than one on average."""
    for name in columns:
        if name.lower() in TEXT_NAMES:
            return name
    words = {name: sum(len(each.split()) for each in values) / max(1, len(values)) for name, values in columns.items()}
    best = max(words, key=lambda name: words[name], default=None)
    return best if best is not None and words[best] > 1 else None


def _classes(values: list[Any]) -> dict[str, Any] | None:
    found = sorted({str(each).lower() if isinstance(each, bool) else each for each in values} - {None, ""})
    return {"kind": "classify", "labels": found} if 2 <= len(found) <= min(MOST_LABELS, len(values) // 2) else None


def _tags(values: list[Any], words: list[Any]) -> dict[str, Any] | None:
    """A task over words, where each list has a tag for each word."""
    pairs = [pair for pair in zip(values, words, strict=True) if pair[0] is not None and pair[1] is not None]
    if not pairs or not all(isinstance(tags, list) and len(tags) == len(own) for tags, own in pairs):
        return None
    types = dict.fromkeys(str(tag)[2:] for tags, _ in pairs for tag in tags if re.match("[BI]-.", str(tag)))
    return _tag_task(types) if types else None


def _tag_task(types: dict[str, None]) -> dict[str, Any]:
    labels = ["O", *(f"{part}-{each}" for each in sorted(types) for part in "BI")]
    return {"kind": "tag", "labels": labels, "scheme": "BIO"}
