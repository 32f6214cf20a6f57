"""Writes a card for files that have none: what can be read from the files is filled in, the rest is marked.

Columns are guessed by their names and values; a guess is a start for a person to correct, never a definition that a
run relies on: a card with a mark in it does not pass `mmkd data check`. No torch here.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from mmkd.arrays import file_hash
from mmkd.data._json import parse
from mmkd.data.base import SPLITS, DataError
from mmkd.data.card import data_root
from mmkd.data.card_text import SECTIONS, TO_WRITE

KINDS = {".jsonl": "jsonl", ".csv": "csv", ".tsv": "csv", ".parquet": "parquet", ".conll": "conll", ".bio": "conll"}
"""Kind of source by the files' ending."""
SPLIT_WORDS = {"train": "train", "dev": "validation", "val": "validation", "valid": "validation", "test": "test"}
TEXT_NAMES, ID_NAMES = ("text", "sentence", "tweet", "content", "headline"), ("id", "key", "index", "name")
IMAGE_NAMES = ("image", "img", "picture", "file_name", "filename")
MOST_LABELS = 30
"""A column with more different values than this is no label."""
SAMPLE = 5000
"""Rows that are looked at."""


@dataclass(frozen=True)
class Table:
    """Some rows of a file: column -> values. rows: how many the file has in all."""

    columns: dict[str, list[Any]]
    rows: int


def write_card(name: str, files: Sequence[Path], folder: Path) -> Path:
    """Write `<folder>/<name>.md` for these files, and say where.

    Raises DataError when there is a card of that name, or the files are not below the data root or of no known kind.
    """
    path = folder / f"{name}.md"
    if path.exists():
        raise DataError(path, None, None, "the card is there; choose another name, or edit it")
    named = _below_the_root(files)
    tables = [each for each in files if each.suffix.lower() in KINDS]
    if not tables:
        found = ", ".join(str(each) for each in files)
        raise DataError(None, None, None, f"found no table among {found}; expected a file with {', '.join(KINDS)}")
    kind = KINDS[tables[0].suffix.lower()]
    read = [_read(each) for each in tables] if kind != "conll" else []
    splits = {_split_of(each, number): named[each] for number, each in enumerate(tables)}
    archives = [named[each] for each in files if each.suffix == ".zip"]
    source, tasks = _source(kind, splits, read, archives, tables[0])
    has_text = kind == "conll" or "text" in source
    modalities = [*(["text"] if has_text else []), *(["image"] if "image" in source else [])]
    block = {
        "version": 1,
        "source": source,
        "files": {named[each]: {"sha256": file_hash(each)} for each in files},
        "obtain": TO_WRITE,
        "modalities": modalities or ["text"],
        "tasks": tasks,
        "splits": {split: table.rows for split, table in zip(splits, read, strict=True)}
        if read
        else dict.fromkeys(splits, 1),
        "pii": {"present": True, "note": TO_WRITE},
    }
    front = {"pretty_name": name, "license": TO_WRITE, "language": ["en"], "mmkd": block}
    body = "\n\n".join([f"# {name}", *(f"## {heading}\n{TO_WRITE}: {text}." for heading, text in SECTIONS.items())])
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(f"---\n{_yaml(front)}---\n\n{body}\n", "utf-8")
    return path


def _below_the_root(files: Sequence[Path]) -> dict[Path, str]:
    root = data_root()
    named = {}
    for each in files:
        if not each.is_file():
            raise DataError(each, None, None, "is no file; expected the files of the data set")
        if root is None or not each.resolve().is_relative_to(root.resolve()):
            raise DataError(each, None, None, f"is not below MMKD_DATA ({root}); put the data set's folder there")
        named[each] = each.resolve().relative_to(root.resolve()).as_posix()
    return named


def _split_of(path: Path, number: int) -> str:
    words = path.stem.lower().replace("-", "_").replace(".", "_").split("_")
    found = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    return found[0] if found else SPLITS[number % len(SPLITS)]


def _read(path: Path) -> Table:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        return Table({name: table[name][:SAMPLE].to_pylist() for name in table.column_names}, len(table))
    lines = path.read_text("utf-8").split("\n")
    if path.suffix == ".jsonl":
        objects = [parse(line) for line in lines[:SAMPLE] if line.strip()]
        names = dict.fromkeys(key for each in objects for key in each)
        return Table({key: [each.get(key) for each in objects] for key in names}, sum(bool(line) for line in lines))
    rows = list(csv.reader(io.StringIO("\n".join(lines)), delimiter="\t" if path.suffix == ".tsv" else ","))
    return Table(
        {key: [row[n] for row in rows[1:SAMPLE] if n < len(row)] for n, key in enumerate(rows[0])}, len(rows) - 1
    )


def _source(
    kind: str, splits: dict[str, str], tables: Sequence[Table], archives: Sequence[str], first: Path
) -> tuple[dict[str, Any], dict[str, Any]]:
    source: dict[str, Any] = {"kind": kind, "splits": splits}
    if kind == "conll":
        tags = {line.split("\t")[-1] for line in first.read_text("utf-8").split("\n") if "\t" in line} - {"O"}
        types = sorted({tag[2:] for tag in tags})
        labels = ["O", *(f"{part}-{each}" for each in types for part in "BI")]
        return source | {"task": "ner"}, {"ner": {"kind": "tag", "labels": labels, "scheme": "BIO"}}
    if first.suffix == ".tsv":
        source |= {"separator": "\t", "quote": None}
    columns = {key: [value for table in tables for value in table.columns.get(key, [])] for key in tables[0].columns}
    rows = max(1, len(next(iter(columns.values()), [])))
    source["id"] = next((key for key in ID_NAMES if key in columns), None)
    text = next((key for key in TEXT_NAMES if key in columns), None)
    if text is not None:
        source["text"] = text
    image = next((key for key in IMAGE_NAMES if key in columns), None)
    if image is not None:
        source["image"] = {"column": image, **({"archive": archives[0]} if archives else {})}
    labels, tasks = {}, {}
    for key, values in columns.items():
        if key in (source["id"], text, image) or not all(
            isinstance(each, str | int) or each is None for each in values
        ):
            continue
        found = sorted({str(each) for each in values if each is not None})
        if 2 <= len(found) <= min(MOST_LABELS, rows // 2):
            labels[key] = {"column": key, **({"missing": [None]} if None in values else {})}
            tasks[key.replace(" ", "_")] = {"kind": "classify", "labels": found}
    source["labels"] = {key.replace(" ", "_"): column for key, column in labels.items()}
    return source, tasks


def _yaml(plain: Any) -> str:
    stream, yaml = io.StringIO(), YAML()
    yaml.default_flow_style, yaml.width = None, 120
    yaml.dump(json.loads(json.dumps(plain)), stream)
    return stream.getvalue()
