"""What a card must tell people, beside what it tells the machine. No torch here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mmkd.data.card import Card
from mmkd.data.hub_keys import hub_keys

SECTIONS = {
    "Summary": "what the rows are, how many, and for which tasks",
    "Provenance and licence": "who made them, from what, and what one may do with them",
    "How to get it": "where the files come from",
    "Composition": "rows of each split, and a table of the labels with their counts",
    "Annotation": "who gave the labels, and by what rules",
    "Preprocessing": "what was done to the rows before, and is done when they are read",
    "Personal data": "whose data the rows hold, and what was masked",
    "Known bias and leaks": "what the rows are not, and which rows recur",
    "Intended and unsuitable use": "what for, and what not for",
    "Citation": "what to cite",
    "Changelog": "what changed in this card",
}
"""Heading -> what stands below it."""

TO_WRITE = "TO WRITE"
"""Stands where `mmkd data new` cannot know; a card with it is not finished."""


def mistakes(card: Card) -> Iterator[str]:
    """What the card lacks for people, and what its keys for the hub say otherwise."""
    found = dict(_sections(card.body))
    for heading, meaning in SECTIONS.items():
        if heading not in found:
            yield f"found no section `## {heading}`; expected {meaning}"
        elif not found[heading].strip():
            yield f"the section `## {heading}` is empty; expected {meaning}"
    for heading, text in found.items():
        if TO_WRITE in text:
            yield f"the section `## {heading}` is still to be written; expected {SECTIONS.get(heading, 'its text')}"
    for key in _marked({**card.about.model_dump(), "mmkd": {"obtain": card.obtain, "pii": card.pii.model_dump()}}):
        yield f"`{key}` is still to be written"
    stated = {"configs": card.about.configs, "dataset_info": card.about.dataset_info}
    for key, expected in hub_keys(card).items():
        if stated[key] is None:
            yield f"`{key}` is missing; `mmkd data hub {card.name}` prints what follows from the block `mmkd`"
        elif _plain(stated[key]) != _plain(expected):
            yield f"`{key}` is not what follows from the block `mmkd`; `mmkd data hub {card.name}` prints that"


def _marked(value: Any, key: str = "") -> Iterator[str]:
    """The keys below which something is still to be written."""
    if isinstance(value, str) and TO_WRITE in value:
        yield key
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
    for name, each in pairs:
        yield from _marked(each, f"{key}.{name}".lstrip("."))


def _sections(body: str) -> Iterator[tuple[str, str]]:
    parts = re.split(r"^## (.*)$", body, flags=re.MULTILINE)
    yield from zip((heading.strip() for heading in parts[1::2]), parts[2::2], strict=True)


def _plain(value: Any) -> Any:
    """Order of keys does not matter."""
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
