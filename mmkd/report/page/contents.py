"""What stands in the rows that a page shows: text, image and names of labels, as the experiment's cards give them.

The labels of the test split stay sealed: a page has them from the predictions alone. No torch here.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from pydantic import ValidationError

from mmkd.config import plugins
from mmkd.config.experiment import DataUse
from mmkd.config.label_maps import label_order, renamed
from mmkd.data._decode import as_rgb, decoded
from mmkd.data.base import Example
from mmkd.data.card import Card, data_root, find_card, open_source, read_card
from mmkd.data.dataset import DataSet
from mmkd.data.integrity import check_files
from mmkd.data.relabel import Form
from mmkd.data.sealed import Seal
from mmkd.errors import MmkdError
from mmkd.places import Places
from mmkd.record import RunRecord
from mmkd.report.commands import run_words

SIDE = 160
"""Pixels of an image's longer side, at most."""


@dataclass(frozen=True)
class Content:
    """A row. image: a `data:` URI, or why there is none, or None for a row without an image."""

    words: tuple[str, ...]
    image: str | None


@dataclass
class Contents:
    """Rows by id. licences: of the data sets that they are of. notes: what could not be read, and why."""

    rows: dict[str, Content] = field(default_factory=dict)
    licences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Member:
    """A data set of an experiment."""

    name: str
    use: DataUse
    card: Card


def members_of(record: RunRecord, places: Places) -> tuple[list[Member], list[str]]:
    """The data sets of a record's experiment, and why some cannot be read."""
    words = run_words(record)
    file = places.root / words[0] if words else places.root
    near = file if file.is_file() else places.root
    members, notes = [], []
    for name, plain in record.experiment.get("data", {}).items():
        try:
            use = DataUse.model_validate(plain)
            members.append(Member(name, use, read_card(find_card(use.card, near))))
        except (MmkdError, ValidationError) as error:
            notes.append(f"{name}: its card cannot be read: {_first_line(error)}")
    return members, notes


def forms_of(record: RunRecord) -> tuple[dict[str, Form], list[str]]:
    """Task -> the form of its labels, and why some are not known."""
    forms: dict[str, Form] = {}
    notes = []
    for task, plain in record.experiment.get("tasks", {}).items():
        try:
            config: Any = plugins.config_class("tasks", plain["kind"])
        except (ImportError, LookupError, TypeError) as error:
            notes.append(f"{task}: its kind cannot be read: {_first_line(error)}")
            continue
        by_logits: Mapping[str, Form] = {"classes": "class", "labels": "set", "value": "value"}
        forms[task] = "words" if config.level == "word" else by_logits[config.logits]
    return forms, notes


def label_names(record: RunRecord, members: Collection[Member]) -> dict[str, tuple[str, ...]]:
    """Task -> names of its labels in the order of the logits; none for values, and where they are not known."""
    found = {}
    for task, plain in record.experiment.get("tasks", {}).items():
        sets = []
        for member in members:
            theirs = task if member.use.tasks is None else member.use.tasks.get(task)
            if theirs in member.card.tasks:
                own = member.card.tasks[theirs]
                sets.append(renamed(own.labels, own.kind, member.use.labels.get(task, {})))
        found[task] = label_order(plain.get("labels"), sets)
    return found


def read_contents(
    record: RunRecord, members: Collection[Member], split: str, ids: Collection[str], places: Places
) -> Contents:
    """The rows of these ids. An id that two data sets have is left out, and noted."""
    contents = Contents()
    twice: set[str] = set()
    for member in members if ids else ():
        try:
            rows, note = _rows_of(member, record, split, ids, places)
        except (MmkdError, OSError, ImportError, ValueError) as error:
            contents.notes.append(f"{member.name}: its rows cannot be read, so ids stand alone: {_first_line(error)}")
            continue
        contents.notes += [note] if note else []
        twice |= rows.keys() & contents.rows.keys()
        contents.rows |= rows
        if rows:
            about = member.card.about
            name = (about.model_extra or {}).get("license_name")
            contents.licences.append(f"{about.pretty_name} (licence {about.license}{f': {name}' if name else ''})")
    if twice:
        contents.notes.append(f"{len(twice)} ids stand in two data sets, so that they stand alone")
    for name in twice:
        del contents.rows[name]
    return contents


def _rows_of(
    member: Member, record: RunRecord, split: str, ids: Collection[str], places: Places
) -> tuple[dict[str, Content], str]:
    """The rows of one data set, and a note where the data here are other than those of the record.

    Raises what opening a data set raises.
    """
    if split not in member.card.splits:
        return {}, ""
    use, folder = member.use, places.cache / "data"
    root: Path | None = data_root()
    check_files(member.card, root, folder / "files")
    source = open_source(member.card, use.options, root)
    data = DataSet(member.card, source, folder / "checks", use.policy, not use.options, Seal())
    limit = {str(name): rows for name, rows in use.limit.items()}.get(split)
    note = _changed(member, record.data.get(f"{member.name}/{split}"), f"{data.fingerprint(split)}:{limit or 'all'}")
    found: dict[str, Content] = {}
    for place, example in enumerate(data.read(split)):
        if place == limit:
            break
        if example.id in ids:
            found[example.id] = Content(example.words, _image(example))
    return found, note


def _changed(member: Member, then: str | None, now: str) -> str:
    if then == now:
        return ""
    return (
        f"{member.name}: the rows are those that card, files and code give now (fingerprint {now[:12]}), the records "
        f"are of {(then or 'none')[:12]}; a row with another number of words than it has labels stands as its id"
    )


def _image(example: Example) -> str | None:
    """A small WebP as a `data:` URI, or why there is none."""
    read: Callable[[], bytes] | None = example.image
    if read is None:
        return None
    try:
        image = as_rgb(decoded(read()))
    except (MmkdError, OSError) as error:
        return f"the image cannot be read: {_first_line(error)}"
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)
