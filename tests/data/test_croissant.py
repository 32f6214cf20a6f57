"""Cards as Croissant: each fact that the card states, in its place, and none that it does not state."""

import json
import re
from pathlib import Path

import pytest

from mmkd.data.card import Card, read_card
from mmkd.data.croissant import CONTEXT, croissant

CARDS = sorted((Path(__file__).resolve().parents[2] / "data_cards").glob("*.md"))

TINY = f"""---
pretty_name: A tiny set
license: cc-by-4.0
license_link: https://example.org/licence
language: [en, de]
task_categories: [text-classification]
tags: [finance]
mmkd:
  version: 1
  source: {{kind: market_notes}}
  files:
    tiny/a b.jsonl: {{sha256: {"a" * 64}}}
    tiny/images.ZIP: {{sha256: {"b" * 64}}}
    tiny/notes.xyz: {{sha256: {"c" * 64}}}
  obtain: |
    From https://example.org/set, or `https://example.org/mirror`.
  modalities: [text, image]
  tasks:
    mood: {{kind: classify, labels: [bad, good]}}
    ner: {{kind: tag, labels: [O, B-ORG, I-ORG]}}
    topics: {{kind: multilabel, labels: [rates, oil]}}
    price: {{kind: regress}}
  splits: {{train: 7, test: 3}}
  pii: {{present: true, kinds: [user handles], mask: [handle, email], note: Names stay.}}
---

# Tiny

## Summary
A set of
two lines.

## Personal data
Not a property of its own.

## Citation
A. Author. A paper. 2020.
"""


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return written(tmp_path, TINY)


def written(folder: Path, text: str) -> Card:
    path = folder / "tiny.md"
    path.write_text(text, "utf-8")
    return read_card(path)


def without(text: str, *patterns: str) -> str:
    for pattern in patterns:
        text, count = re.subn(pattern, "", text, flags=re.MULTILINE)
        assert count == 1, pattern
    return text


def test_facts_of_the_card(card):
    document = croissant(card)
    tables = ("@context", "@type", "conformsTo", "distribution", "recordSet")
    assert {name: fact for name, fact in document.items() if name not in tables} == {
        "name": "A tiny set",
        "alternateName": "tiny",
        "description": "A set of\ntwo lines.",
        "citeAs": "A. Author. A paper. 2020.",
        "url": "https://example.org/set",
        "license": {"@type": "CreativeWork", "name": "cc-by-4.0", "url": "https://example.org/licence"},
        "inLanguage": ["en", "de"],
        "keywords": ["text-classification", "finance"],
        "rai:personalSensitiveInformation": [
            "user handles",
            "masked when rows are read: handle, email",
            "Names stay.",
        ],
    }


def test_files(card):
    files = croissant(card)["distribution"]
    assert files[0] == {
        "@type": "cr:FileObject",
        "@id": "files/tiny/a%20b.jsonl",
        "name": "a b.jsonl",
        "contentUrl": "tiny/a%20b.jsonl",
        "encodingFormat": "application/jsonlines",
        "sha256": "a" * 64,
    }
    assert [(file["encodingFormat"], file["sha256"][0]) for file in files[1:]] == [
        ("application/zip", "b"),
        ("application/octet-stream", "c"),
    ]


def test_a_folder_is_a_file_set_without_a_checksum(card):
    folder = card.model_copy(update={"files": {"tiny/images/": card.files["tiny/images.ZIP"]}})
    assert croissant(folder)["distribution"] == [
        {
            "@type": "cr:FileSet",
            "@id": "files/tiny/images/",
            "name": "tiny/images/",
            "includes": "tiny/images/**",
            "encodingFormat": "application/octet-stream",
        }
    ]


def test_tables_hold_what_a_row_has(card):
    tables = {table["@id"]: table for table in croissant(card)["recordSet"]}
    rows = {name: [tuple(row.values()) for row in table["data"]] for name, table in tables.items()}
    assert rows == {
        "fields": [
            ("id", "sc:Text", "row", ""),
            ("words", "sc:Text", "word", ""),
            ("image", "sc:ImageObject", "row", ""),
            ("mood", "sc:Text", "row", "classify"),
            ("ner", "sc:Text", "word", "tag"),
            ("topics", "sc:Text", "label", "multilabel"),
            ("price", "sc:Float", "row", "regress"),
        ],
        "splits": [("train", 7), ("test", 3)],
        "mood_labels": [("bad", 0), ("good", 1)],
        "ner_labels": [("O", 0), ("B-ORG", 1), ("I-ORG", 2)],
        "topics_labels": [("rates", 0), ("oil", 1)],
    }
    assert {name: table.get("dataType") for name, table in tables.items()} == {
        "fields": None,
        "splits": "cr:Split",
        "mood_labels": "sc:Enumeration",
        "ner_labels": "sc:Enumeration",
        "topics_labels": "sc:Enumeration",
    }
    assert tables["splits"]["data"][0] == {"splits/name": "train", "splits/rows": 7}


def test_what_a_card_does_not_state_is_left_out(tmp_path):
    text = without(TINY, r"^license_link.*\n", r"^tags.*\n", r"^task_categories.*\n", r"^language.*\n", r"## Cit[^$]*")
    text = without(text, r"^  files:\n(    .*\n)*", r"^  obtain: \|\n    .*\n")
    document = croissant(written(tmp_path, text.replace("cc-by-4.0", "unknown")))
    absent = {
        "license",
        "keywords",
        "inLanguage",
        "citeAs",
        "distribution",
        "url",
        "version",
        "datePublished",
        "creator",
    }
    assert absent & document.keys() == set()


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("license: other\nlicense_name: research use", {"@type": "CreativeWork", "name": "research use"}),
        ("license: other", None),
        ("license: unknown", None),
        ("license: other\nlicense_link: https://x.org", {"@type": "CreativeWork", "url": "https://x.org"}),
    ],
)
def test_licences_without_a_name_of_their_own(tmp_path, lines, expected):
    text = without(TINY, r"^license_link.*\n").replace("license: cc-by-4.0", lines)
    assert croissant(written(tmp_path, text)).get("license") == expected


@pytest.mark.parametrize(
    ("pii", "expected"),
    [
        ("{present: false}", ["none"]),
        ("{present: true}", ["present"]),
        ("{present: false, note: Made up.}", ["none", "Made up."]),
    ],
)
def test_personal_data(tmp_path, pii, expected):
    text = re.sub(r"pii: \{.*\}", f"pii: {pii}", TINY)
    assert croissant(written(tmp_path, text))["rai:personalSensitiveInformation"] == expected


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)
def test_every_card_makes_a_consistent_document(path):
    document = croissant(read_card(path))
    assert json.loads(json.dumps(document)) == document
    assert document["description"] and document["@type"] == "sc:Dataset"
    ids = [node["@id"] for node in nodes({key: part for key, part in document.items() if key != "@context"})]
    assert len(ids) == len(set(ids))
    for table in document["recordSet"]:
        columns = [field["@id"] for field in table["field"]]
        assert table["key"] == {"@id": columns[0]}
        assert [list(row) for row in table["data"]] == [columns] * len(table["data"])
    prefixes = {name.partition(":")[0] for name in document if ":" in name}
    assert prefixes <= CONTEXT.keys()


def nodes(part):
    """Every object of a document that declares an id: those that only refer to one have no type."""
    if isinstance(part, dict):
        if "@id" in part and "@type" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for each in part:
            yield from nodes(each)
