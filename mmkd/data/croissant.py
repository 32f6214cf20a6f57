"""A card as Croissant, the metadata format of ML Commons that data search engines and loaders read
(https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html, with the terms for responsible AI,
https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html). No torch here.

What a card does not know (version, date, authors) is left out. So is how rows stand in the files: it is the source's
knowledge, and not all of it has a form in Croissant (sentences of a `conll` file). Fields of a record set must have a
source there, or readers yield rows of nulls; what a row holds is therefore a table with its data in the document.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

from mmkd.data.card import Card

__all__ = ["croissant"]

Json = dict[str, Any]

CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The specification's own, whole: readers warn about any other."""

CONFORMS_TO = ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"]

SECTIONS = {
    "Summary": "description",
    "Citation": "citeAs",
    "Annotation": "rai:dataAnnotationProtocol",
    "Preprocessing": "rai:dataPreprocessingProtocol",
    "Known bias and leaks": "rai:dataBiases",
    "Intended and unsuitable use": "rai:dataUseCases",
}
"""Sections of a card's text, and the property that holds each."""

FORMATS = {
    ".csv": "text/csv",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".parquet": "application/x-parquet",
    ".png": "image/png",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".webp": "image/webp",
    ".zip": "application/zip",
}
UNKNOWN_FORMAT = "application/octet-stream"

LINK = re.compile(r"https?://[^\s`'\"<>()\[\]]+")


def croissant(card: Card) -> Json:
    """The card as JSON-LD of Croissant 1.1, ready for `json.dumps`.

    Record sets, all with their data: `fields` of a row, the tasks' labels among them; `splits` with their rows;
    `<task>_labels`, label names by index. A folder's sha256 has no place in Croissant and is left out.
    `url` is the first link in what the card says on how to obtain the files.
    """
    text, tags = _sections(card.body), _extra(card).get("tags")
    facts = {
        "name": card.about.pretty_name,
        "alternateName": card.name,
        **{name: text.get(section) for section, name in SECTIONS.items()},
        "url": _first_link(card.obtain or ""),
        "license": _license(card),
        "inLanguage": list(card.about.language),
        "keywords": [*card.about.task_categories, *(tags if isinstance(tags, list) else ())],
        "rai:personalSensitiveInformation": _personal(card),
        "distribution": [_file(name, file.sha256) for name, file in card.files.items()],
        "recordSet": [
            _table("fields", None, dict.fromkeys(("name", "type", "per", "task"), "sc:Text"), _fields(card)),
            _table("splits", "cr:Split", {"name": "sc:Text", "rows": "sc:Integer"}, list(card.splits.items())),
            *(_labels(name, task.labels) for name, task in card.tasks.items() if task.labels),
        ],
    }
    known = {name: fact for name, fact in facts.items() if fact}
    return {"@context": CONTEXT, "@type": "sc:Dataset", "conformsTo": CONFORMS_TO, **known}


def _sections(body: str) -> dict[str, str]:
    """Text by the title of its section (`## title`)."""
    parts = re.split(r"^## +(.+?) *$", body, flags=re.MULTILINE)[1:]
    return {title: text.strip() for title, text in zip(parts[::2], parts[1::2], strict=True)}


def _extra(card: Card) -> Mapping[str, Any]:
    """Keys of Hugging Face that cards may have and that are not checked."""
    return card.about.model_extra or {}


def _first_link(text: str) -> str | None:
    found = LINK.search(text)
    return found.group().rstrip(".,;:") if found else None


def _license(card: Card) -> Json | None:
    """By name, and with its link where the card has one; None when the card says that it is unknown."""
    name = _extra(card).get("license_name", "other") if card.about.license == "other" else card.about.license
    link = _extra(card).get("license_link")
    work = {"name": None if name in ("other", "unknown") else name, "url": link}
    stated = {key: value for key, value in work.items() if value}
    return {"@type": "CreativeWork", **stated} if stated else None


def _personal(card: Card) -> list[str]:
    kinds = card.pii.kinds or ("present",)
    masked = [f"masked when rows are read: {', '.join(card.pii.mask)}"] if card.pii.mask else []
    return [*(kinds if card.pii.present else ("none",)), *masked, *filter(None, [card.pii.note])]


def _file(name: str, sha256: str) -> Json:
    """`contentUrl` is the path below the data root: the files are not on the network as they are."""
    if name.endswith("/"):
        files = {"includes": f"{name}**", "encodingFormat": UNKNOWN_FORMAT}
        return {"@type": "cr:FileSet", "@id": quote(f"files/{name}"), "name": name, **files}
    path = PurePosixPath(name)
    return {
        "@type": "cr:FileObject",
        "@id": quote(f"files/{name}"),
        "name": path.name,
        "contentUrl": quote(name),
        "encodingFormat": FORMATS.get(path.suffix.lower(), UNKNOWN_FORMAT),
        "sha256": sha256,
    }


def _fields(card: Card) -> list[tuple[str, str, str, str]]:
    """Name, type, how many there are (one per `row` or per `word`; per `label`: any number), and kind of task."""
    fields = [("id", "sc:Text", "row", "")]
    if "text" in card.modalities:
        fields.append(("words", "sc:Text", "word", ""))
    if "image" in card.modalities:
        fields.append(("image", "sc:ImageObject", "row", ""))
    per = {"tag": "word", "multilabel": "label"}
    for name, task in card.tasks.items():
        fields.append((name, "sc:Text" if task.labels else "sc:Float", per.get(task.kind, "row"), task.kind))
    return fields


def _labels(task: str, names: Sequence[str]) -> Json:
    types = {"name": "sc:Text", "index": "sc:Integer"}
    return _table(f"{task}_labels", "sc:Enumeration", types, [(name, index) for index, name in enumerate(names)])


def _table(name: str, kind: str | None, columns: Mapping[str, str], rows: Sequence[Sequence[str | int]]) -> Json:
    """A record set with its rows in it; the first column is the key."""
    ids = [f"{name}/{column}" for column in columns]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        **({"dataType": kind} if kind else {}),
        "key": {"@id": ids[0]},
        "field": [
            {"@type": "cr:Field", "@id": place, "name": column, "dataType": holds}
            for place, (column, holds) in zip(ids, columns.items(), strict=True)
        ],
        "data": [dict(zip(ids, row, strict=True)) for row in rows],
    }
