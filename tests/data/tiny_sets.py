"""Makes small data sets in a folder: files, images and the card over them."""

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

from PIL import Image

from mmkd.data.base import Source
from mmkd.data.card import Card, open_source, read_card


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
    """A card over all the files that lie under the root. JSON is YAML, so the front matter is written as JSON."""
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    front = {
        "pretty_name": "Tiny",
        "license": "cc0-1.0",
        "mmkd": {
            "version": 1,
            "source": source,
            "files": {name: {"sha256": hashlib.sha256((root / name).read_bytes()).hexdigest()} for name in names},
            "obtain": "made by the test",
            "modalities": ["text", "image"],
            "tasks": tasks,
            "splits": {"train": 1},
            "pii": {"present": False},
        },
    }
    path = root.parent / "tiny.md"
    path.write_text(f"---\n{json.dumps(front, indent=1)}\n---\nTiny.\n", "utf-8")
    return read_card(path)


def source_of(root: Path, source: dict[str, Any], tasks: dict[str, Any]) -> Source:
    return open_source(card(root, source, tasks), {}, root)
