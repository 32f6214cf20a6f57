"""Makes small data sets in a folder: files, images and the card over them."""

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from mmkd.data.base import Example, Source
from mmkd.data.card import Card, open_source, read_card
from mmkd.data.findings import Finding

TABLE_KINDS = ("csv", "tsv", "json", "json_by_key", "jsonl", "lines", "parquet", "hf_dataset", "hf_dict")
"""Ways to write rows of texts, for `written`."""

LIST_KINDS = ("json", "jsonl", "parquet", "hf_dataset", "hf_dict")
"""Those that can also hold lists, and texts that are null."""

LINE_KINDS = ("csv", "tsv", "jsonl", "lines")
"""Those whose rows are lines."""


def picture(red: int) -> bytes:
    """A PNG of 4 x 3 pixels of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (red, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def archive(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


def card(root: Path, source: dict[str, Any], tasks: dict[str, Any]) -> Card:
    """A card over all the files that lie under the root, and the folders that the source names."""
    folders = sorted({text.rstrip("/") for text in _texts(source) if text and (root / text).is_dir()})
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    names = [name for name in names if not name.startswith(tuple(f"{folder}/" for folder in folders))]
    sums = {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}
    sums |= {f"{folder}/": folder_sum(root / folder) for folder in folders}
    front = {
        "pretty_name": "Tiny",
        "license": "cc0-1.0",
        "mmkd": {
            "version": 1,
            "source": source,
            "files": {name: {"sha256": value} for name, value in sums.items()},
            "obtain": "made by the test",
            "modalities": ["text", "image"],
            "tasks": tasks,
            "splits": {"train": 1},
            "pii": {"present": False},
        },
    }
    path = root.parent / "tiny.md"
    path.write_text(f"---\n{_yaml(front)}\n---\nTiny.\n", "utf-8")
    return read_card(path)


def folder_sum(folder: Path) -> str:
    """What a card says of a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files
    ]
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def source_of(root: Path, source: dict[str, Any], tasks: dict[str, Any]) -> Source:
    return open_source(card(root, source, tasks), {}, root)


def examples_of(rows: list[Example | Finding]) -> list[Example]:
    """The rows, all of which must be examples."""
    assert [str(row) for row in rows if isinstance(row, Finding)] == []
    return [row for row in rows if isinstance(row, Example)]


def finding_of(rows: list[Example | Finding], reason: str) -> Finding:
    """The one finding among the rows, which must have the reason."""
    (found,) = [row for row in rows if isinstance(row, Finding)]
    assert found.reason == reason, found
    return found


def written(kind: str, root: Path, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> dict[str, Any]:
    """Write rows to the split `train` as a kind of table. Gives the keys of the card's `source` that say how to read.

    Parquet and Hugging Face columns get the types that the values have.
    """
    root.mkdir(parents=True, exist_ok=True)
    if kind in ("csv", "tsv"):
        separator = "," if kind == "csv" else "\t"
        with (root / f"rows.{kind}").open("w", newline="", encoding="utf-8") as file:
            quoting = csv.QUOTE_MINIMAL if kind == "csv" else csv.QUOTE_ALL
            writer = csv.DictWriter(file, columns, delimiter=separator, lineterminator="\n", quoting=quoting)
            writer.writeheader()
            writer.writerows(rows)
        return {"kind": "csv", "splits": {"train": f"rows.{kind}"}, "separator": separator}
    if kind == "lines":
        lines = ["\x1f".join(row[column] for column in columns) for row in rows]
        (root / "rows.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
        groups = "\x1f".join(f"(?P<{column}>[^\x1f]*)" for column in columns)
        return {"kind": "lines", "splits": {"train": "rows.txt"}, "pattern": groups}
    if kind == "jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (root / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="")
        return {"kind": "jsonl", "splits": {"train": "rows.jsonl"}}
    if kind in ("json", "json_by_key"):
        document = rows if kind == "json" else {f"k{number}": row for number, row in enumerate(rows)}
        (root / "rows.json").write_text(json.dumps(document), "utf-8")
        return {"kind": "json", "splits": {"train": "rows.json"}}
    return _written_by_arrow(kind, root, {column: [row[column] for row in rows] for column in columns})


def _written_by_arrow(kind: str, root: Path, values: dict[str, list[Any]]) -> dict[str, Any]:
    if kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table(values), root / "rows.parquet", row_group_size=3)
        return {"kind": "parquet", "splits": {"train": "rows.parquet"}}
    import datasets

    datasets.disable_progress_bars()
    made = datasets.Dataset.from_dict(values)
    (made if kind == "hf_dataset" else datasets.DatasetDict({"train": made})).save_to_disk(root / "rows")
    return {"kind": "hf_datasets", "folder": "rows", "splits": {"train": "train"}}


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _yaml(value: Any) -> str:
    """JSON is YAML but for characters beyond the first plane, which JSON escapes as two and YAML as one."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    return re.sub(r"[^\x00-\x7e]", lambda found: f"\\U{ord(found[0]):08x}", text)
