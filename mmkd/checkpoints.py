"""A row of checkpoints in a folder, the newest valid one of which a run goes on from. safetensors and JSON, no pickle.

<folder>/000000120/manifest.json    the step's facts, and size and sha256 of every other file
<folder>/000000120/*.safetensors

A checkpoint is written in a folder of another name, each file is on the disk before the manifest, the manifest before
the folder has its name. So what has the name is whole, and what is killed on the way leaves the one before as it was.
A damaged one is named and put aside, and the one before is used.
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from mmkd.arrays import file_hash
from mmkd.disk import rename, sync, told_of_disk, write
from mmkd.errors import MmkdError
from mmkd.record import hash_of

MANIFEST, WRITING, DAMAGED = "manifest.json", "writing", "damaged-"
REMOVING = ".removing"


class Damaged(MmkdError):
    """A checkpoint is not what was written; the message says which file, and how it differs."""


class OtherRun(MmkdError):
    """Checkpoints of another experiment, data, code or machine; the message says what differs, and what to do."""


@dataclass(frozen=True)
class Saved:
    """A checkpoint that was read. tensors: file -> name -> tensor, on the CPU. facts: plain data."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Before:
    """Another training, whose state after so many epochs is where this one begins. made_from: as in `Checkpoints`."""

    made_from: Mapping[str, str]
    epochs: int


class Checkpoints:
    """Those of one training. One process at a time may write them: the caller holds the run's lease."""

    def __init__(
        self,
        folder: Path,
        made_from: Mapping[str, str],
        say: Callable[[str], None],
        keep: int = 2,
        before: Before | None = None,
    ) -> None:
        """made_from: all that the training depends on, by name. keep: how many stay. say: told what was put aside.

        before: whose last checkpoint this training goes on from too.
        """
        self.folder, self.made_from, self.keep, self._say = folder, dict(made_from), keep, say
        self._before = before

    def steps(self) -> list[int]:
        """Those that lie there, whole or not, oldest first."""
        if not self.folder.exists():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def newest(self) -> Saved | None:
        """The newest valid one; None when there is none. Damaged ones are said and put aside.

        Raises OtherRun when it is of a training that depends on something else.
        """
        saved = self.newest_of_any()
        if saved is not None:
            self.require_same(saved)
        return saved

    def newest_of_any(self) -> Saved | None:
        """The newest valid one, whatever training it is of; None when there is none."""
        for step in reversed(self.steps()):
            try:
                saved = read(self._place(step))
            except Damaged as error:
                aside = self._put_aside(step)
                self._say(f"{error}; put aside as {aside.name}, and the one before is used")
                continue
            return saved
        return None

    def goes_on_from(self, saved: Saved) -> bool:
        """Whether it is a checkpoint of this training, or where this training begins."""
        made_from, before = saved.facts["made_from"], self._before
        if before is None or made_from != before.made_from:
            return bool(made_from == self.made_from)
        return (saved.facts["epoch"], saved.facts["batch"]) == (before.epochs, 0)

    def save(
        self,
        step: int,
        tensors: Mapping[str, Mapping[str, Tensor]],
        facts: Mapping[str, Any],
        replace: bool = False,
    ) -> None:
        """Write the checkpoint of a step, unless it is there, and remove those that are too old.

        tensors: file -> name -> tensor. replace: one that is there, of the same step before its epoch ended.
        Raises DiskError when it cannot be written; what lay there before stays.
        """
        place = self._place(step)
        if place.exists() and not replace:
            return
        content = {"step": step, "made_from": self.made_from, "facts": dict(facts)}
        size = len(json.dumps(content)) + sum(value.nbytes for own in tensors.values() for value in own.values())
        with told_of_disk(place, size):
            writing = self.folder / WRITING
            if writing.exists():
                shutil.rmtree(writing)
            writing.mkdir(parents=True)
            try:
                files = {f"{name}.safetensors": own for name, own in tensors.items()}
                for name, own in files.items():
                    write_tensors(writing / name, own)
                content["files"] = {
                    name: {"size": (writing / name).stat().st_size, "sha256": file_hash(writing / name)}
                    for name in files
                }
                write(writing / MANIFEST, json.dumps(content | {"digest": hash_of(content)}).encode())
                sync(writing)
                if place.exists():
                    self._clear_away()
                    place.rename(place.with_name(place.name + REMOVING))
                rename(writing, place)
            except OSError:
                shutil.rmtree(writing, ignore_errors=True)  # room for what others need
                raise
            self._remove_old()

    def remove(self) -> None:
        """Remove them all: the run has ended."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _remove_old(self) -> None:
        self._clear_away()
        for step in self.steps()[: -self.keep]:
            # Half a checkpoint must not have a checkpoint's name.
            self._place(step).rename(self.folder / f"{step:09}{REMOVING}")
        self._clear_away()

    def _clear_away(self) -> None:
        for left in self.folder.glob(f"*{REMOVING}"):
            shutil.rmtree(left)

    def _put_aside(self, step: int) -> Path:
        number, place = 0, self._place(step)
        while (aside := place.with_name(f"{DAMAGED}{place.name}-{number}")).exists():
            number += 1
        rename(place, aside)
        return aside

    def require_same(self, saved: Saved) -> None:
        """Raises OtherRun when this training does not go on from it."""
        if self.goes_on_from(saved):
            return
        found, mine = saved.facts["made_from"], self.made_from
        different = sorted(name for name in {*found, *mine} if found.get(name) != mine.get(name))
        raise OtherRun(
            f"{self.folder}: the checkpoint of step {saved.step} was made with another {', '.join(different)}, so "
            "that going on would give the numbers of neither; bring that back, or begin anew with --fresh"
        )

    def _place(self, step: int) -> Path:
        return self.folder / f"{step:09}"


def write_tensors(path: Path, values: Mapping[str, Tensor]) -> None:
    """Write a new file of tensors, and wait until it is on the disk. Raises OSError when it cannot be written."""
    try:
        save_file({name: value.detach().cpu().contiguous() for name, value in values.items()}, path)
    except SafetensorError as error:  # which says the system's own number in words alone
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error)) from error
    sync(path)


def read(place: Path) -> Saved:
    """A checkpoint, if it is what was written. Its `made_from` is one of the facts.

    Raises Damaged when any file is missing, cannot be read, or is not what was written.
    """
    manifest = _manifest(place)
    digest = manifest.pop("digest", None)
    if hash_of(manifest) != digest:
        raise Damaged(f"{place / MANIFEST}: its content is not what was written")
    if manifest["step"] != int(place.name):
        raise Damaged(f"{place / MANIFEST}: it is of step {manifest['step']}")
    tensors = {}
    for name, expected in manifest["files"].items():
        try:
            data = (place / name).read_bytes()
        except OSError as error:
            raise Damaged(f"{place / name}: {error.strerror or error}") from error
        if len(data) != expected["size"]:
            raise Damaged(f"{place / name}: {len(data):,} bytes; expected {expected['size']:,}")
        if hashlib.sha256(data).hexdigest() != expected["sha256"]:
            raise Damaged(f"{place / name}: its content is not what was written (sha256 differs)")
        try:
            tensors[name.removesuffix(".safetensors")] = load(data)
        except SafetensorError as error:  # a writer's bug, since it is what was written
            raise Damaged(f"{place / name}: {error}") from error
    return Saved(manifest["step"], tensors, manifest["facts"] | {"made_from": manifest["made_from"]})


def _manifest(place: Path) -> dict[str, Any]:
    try:
        found = json.loads((place / MANIFEST).read_bytes())
    except OSError as error:
        raise Damaged(f"{place / MANIFEST}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{place / MANIFEST}: no JSON: {error}") from error
    if not isinstance(found, dict):
        raise Damaged(f"{place / MANIFEST}: no manifest")
    return found
