"""A cache entry on disk: what a teacher said about one split, in shards of fixed row ranges. No torch here.

<key>/entry.json           what the entry depends on, by name; the key is its hash
<key>/shard-00000/*.npy    the arrays of rows 0 to 2,047, and so on
<key>/shard-00000/shard.json   what is in the shard, with the sha256 of each file
<key>/manifest.json        all shards; written last: without it the entry is partial, and is never read
<key>/used                 its time says when the entry was last opened
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import ValidationError

from mmkd.arrays import StoreError, file_hashes, open_array
from mmkd.config.section import Section
from mmkd.lease import shared
from mmkd.record import hash_of

ENTRY, SHARD, MANIFEST, USED = "entry.json", "shard.json", "manifest.json", "used"
ADVICE = "`mmkd cache gc --yes` drops it, and the next run makes it anew"


Kind = Literal["fp32", "fp16", "bf16", "bool", "index"]
"""What an array holds. bf16 is stored as its bits, which numpy reads as uint16; an index is the number of a class."""


class About(Section):
    """What an entry is about, for people. view: number of the view; None: the rows themselves."""

    teacher: str
    data: str
    split: str
    view: int | None
    dtype: str

    def __str__(self) -> str:
        view = "" if self.view is None else f", view {self.view}"
        return f"{self.teacher} for {self.data}/{self.split}{view}"


class Array(Section):
    """One array of a shard. ragged: one value per word, not per row. shape: of one value."""

    ragged: bool
    kind: Kind
    shape: tuple[int, ...]


class Lost(Section):
    """What storing an output lost.

    of: `relative`, the root of total / against, which are sums of the squared error and of the squared values; `nats`,
        the mean KL(teacher || stored) at temperature 1, total / against, which are its sum and the number of rows.
    largest: the same of the row or word that lost most.
    """

    of: Literal["relative", "nats"]
    total: float
    against: float
    largest: float

    @property
    def value(self) -> float:
        """The relative error, or the mean KL in nats."""
        share = self.total / self.against if self.against else 0.0
        return share**0.5 if self.of == "relative" else share


class Shard(Section):
    """Rows `start` up to `end`. words: of these rows. files: name -> sha256. bytes: of all files. seconds: to make it.

    grids: name of a layer -> rows and columns of its positions. classes: task whose logits were cut -> number of all.
    """

    start: int
    end: int
    words: int
    arrays: dict[str, Array]
    grids: dict[str, tuple[int, int]]
    classes: dict[str, int]
    lost: dict[str, Lost]
    files: dict[str, str]
    bytes: int
    seconds: float


class Start(Section):
    """What an entry depends on, by name, and what it is about. rows: in all."""

    parts: dict[str, str]
    about: About
    rows: int


class Manifest(Start):
    """A whole entry. made: when it was finished, as UTC in ISO 8601. seconds: that the teacher took."""

    words: int
    bytes: int
    seconds: float
    made: str
    shards: tuple[Shard, ...]

    @property
    def lost(self) -> dict[str, Lost]:
        """What storing lost, over all shards, by output."""
        found: dict[str, Lost] = {}
        for shard in self.shards:
            for name, lost in shard.lost.items():
                old = found.get(name, Lost(of=lost.of, total=0.0, against=0.0, largest=0.0))
                total, against = old.total + lost.total, old.against + lost.against
                largest = max(old.largest, lost.largest)
                found[name] = Lost(of=lost.of, total=total, against=against, largest=largest)
        return found


Sealed = TypeVar("Sealed", bound=Section)


def key_of(parts: Mapping[str, str]) -> str:
    """Name of the entry that depends on these parts."""
    return hash_of(dict(parts))[:24]


def shard_name(number: int) -> str:
    """Name of a shard's folder."""
    return f"shard-{number:05d}"


def seal(section: Section) -> str:
    """JSON of a section with the hash of its content."""
    content: dict[str, Any] = section.model_dump(mode="json")
    return json.dumps(content | {"digest": hash_of(content)}, indent=1, ensure_ascii=False) + "\n"


def unseal(path: Path, kind: type[Sealed]) -> Sealed:
    """The section that a file holds.

    Raises StoreError when there is none, or when it was changed after it was written.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        digest = content.pop("digest")
        section = kind.model_validate_json(json.dumps(content))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ValidationError) as error:
        raise StoreError(f"{path}: cannot be read ({error!r:.200}); {ADVICE}") from error
    if digest != hash_of(content):
        raise StoreError(f"{path}: the content does not match its own sha256: it was changed; {ADVICE}")
    return section


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a whole entry.

    Raises StoreError when it cannot be read, or is another entry's.
    """
    manifest = unseal(folder / MANIFEST, Manifest)
    if key_of(manifest.parts) != folder.name:
        raise StoreError(f"{folder}: what it depends on has the key {key_of(manifest.parts)}; {ADVICE}")
    return manifest


def differing(found: Mapping[str, str], expected: Mapping[str, str]) -> list[str]:
    """Names of the parts that are not equal."""
    return [name for name in sorted({*found, *expected}) if found.get(name) != expected.get(name)]


def damage(folder: Path, manifest: Manifest) -> str | None:
    """What is wrong with the files of an entry: the first that is missing or not as written; every byte is read."""
    paths = {
        folder / shard_name(number) / name: sha256
        for number, shard in enumerate(manifest.shards)
        for name, sha256 in shard.files.items()
    }
    found = file_hashes(list(paths))
    for path, expected in paths.items():
        if found[path] != expected:
            what = "is missing" if found[path] is None else "the content is not what was written (sha256 differs)"
            return f"{path}: {what}; {ADVICE}"
    return None


def open_entry(folder: Path, manifest: Manifest) -> tuple[list[dict[str, np.ndarray]], int | None]:
    """The arrays of each shard, memory-mapped and read-only, and the lock that keeps the entry while they are used."""
    lock = shared(folder)
    shards = []
    for number, shard in enumerate(manifest.shards):
        place = folder / shard_name(number)
        # A plain view: a memmap runs Python code at each indexing.
        shards.append({name: open_array(place / name).view(np.ndarray) for name in shard.files})
    return [{name.removesuffix(".npy"): array for name, array in each.items()} for each in shards], lock
