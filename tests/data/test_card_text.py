"""What a card must tell people: each thing that it lacks is said, and a whole card has no mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import planted
import pytest

from mmkd.data.card import read_card
from mmkd.data.card_text import SECTIONS, TO_WRITE, mistakes
from mmkd.data.hub_keys import hub_keys

BODY = "# Tiny\n\n" + "\n".join(f"## {heading}\nSomething of it.\n" for heading in SECTIONS)


@pytest.fixture
def told(tmp_path: Path) -> Callable[..., list[str]]:
    """The mistakes of a card with a body, after a change of its front matter."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.jsonl").write_text("", "utf-8")
    source = {"kind": "jsonl", "splits": {"train": "a.jsonl"}, "id": "id", "text": "text", "labels": {}}
    card = planted.card(root, source, {"mood": {"kind": "classify", "labels": ["bad", "good"]}}, {"train": 3})
    front = json.loads(card.path.read_text("utf-8").split("---")[1]) | hub_keys(card)

    def of(body: str = BODY, change: Callable[[Any], object] = lambda front: None) -> list[str]:
        changed = json.loads(json.dumps(front))
        change(changed)
        card.path.write_text(f"---\n{json.dumps(changed, indent=1)}\n---\n\n{body}", "utf-8")
        return list(mistakes(read_card(card.path)))

    return of


def test_a_whole_card_has_no_mistake(told: Callable[..., list[str]]):
    assert told() == []
    assert told(BODY + "\n## Of our own\nMore.\n\n### Below\n") == []


@pytest.mark.parametrize("heading", SECTIONS)
def test_each_section_must_be_there_and_written(told: Callable[..., list[str]], heading: str):
    meaning = SECTIONS[heading]
    part = f"## {heading}\nSomething of it.\n"
    assert BODY.count(part) == 1
    assert told(BODY.replace(part, "")) == [f"found no section `## {heading}`; expected {meaning}"]
    assert told(BODY.replace(part, f"### {heading}\nSomething of it.\n")) == [
        f"found no section `## {heading}`; expected {meaning}"
    ]
    assert told(BODY.replace(part, f"## {heading}\n \n")) == [
        f"the section `## {heading}` is empty; expected {meaning}"
    ]
    assert told(BODY.replace(part, f"## {heading}\n{TO_WRITE}: x.\n")) == [
        f"the section `## {heading}` is still to be written; expected {meaning}"
    ]


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda front: front.update(license=TO_WRITE), "license"),
        (lambda front: front.update(language=["en", TO_WRITE]), "language.1"),
        (lambda front: front.update(own={"a": [f"x {TO_WRITE} y"]}), "own.a.0"),
        (lambda front: front["mmkd"].update(obtain=f"{TO_WRITE}: where"), "mmkd.obtain"),
        (lambda front: front["mmkd"]["pii"].update(note=TO_WRITE), "mmkd.pii.note"),
    ],
)
def test_a_mark_in_the_front_matter_is_a_mistake(told: Callable[..., list[str]], change: Any, key: str):
    assert told(change=change) == [f"`{key}` is still to be written"]


@pytest.mark.parametrize("key", ["configs", "dataset_info"])
def test_keys_for_the_hub_must_be_there(told: Callable[..., list[str]], key: str):
    expected = [f"`{key}` is missing; `mmkd data hub planted` prints what follows from the block `mmkd`"]
    assert told(change=lambda front: front.pop(key)) == expected


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("configs", lambda front: front["configs"][0]["data_files"][0].update(path="b.jsonl")),
        ("configs", lambda front: front["configs"].clear()),
        ("dataset_info", lambda front: front["dataset_info"]["splits"][0].update(num_examples=4)),
        ("dataset_info", lambda front: front["dataset_info"]["features"].reverse()),
        ("dataset_info", lambda front: front["mmkd"]["splits"].update(train=4)),
        ("dataset_info", lambda front: front["mmkd"]["tasks"]["mood"].update(labels=["good", "bad"])),
    ],
)
def test_keys_for_the_hub_must_say_what_the_block_says(told: Callable[..., list[str]], key: str, change: Any):
    expected = [f"`{key}` is not what follows from the block `mmkd`; `mmkd data hub planted` prints that"]
    assert told(change=change) == expected


def test_the_order_of_keys_does_not_matter(told: Callable[..., list[str]]):
    def turn(front: Any) -> None:
        front["dataset_info"] = dict(reversed(front["dataset_info"].items()))
        front["configs"] = [dict(reversed(each.items())) for each in front["configs"]]

    assert told(change=turn) == []
