"""The cards of `data_cards/`: all are read, and those whose files are here hold what they say."""

import io
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from mmkd.data.base import Example
from mmkd.data.card import Card, check_files, data_root, missing_files, open_source, read_card

OWN_TABLE = "market_notes"  # its card describes a generator and has tables of another form
CARDS = sorted((Path(__file__).parents[2] / "data_cards").glob("*.md"))
FILE_CARDS = [path for path in CARDS if path.stem != OWN_TABLE]
SECTIONS = ("Summary", "Provenance and licence", "How to get it", "Composition", "Annotation", "Preprocessing")
SECTIONS += ("Personal data", "Known bias and leaks", "Intended and unsuitable use", "Citation", "Changelog")


def test_there_are_cards():
    assert {"mvsa_single", "harmeme_c", "wnut17"} <= {path.stem for path in CARDS}


@pytest.mark.parametrize("path", FILE_CARDS, ids=lambda path: path.stem)
def test_a_card_is_read_and_has_every_section(path: Path):
    card = read_card(path)
    assert card.files
    assert [section for section in SECTIONS if f"## {section}\n" not in card.body] == []


@pytest.mark.data
@pytest.mark.skipif(data_root() is None, reason="MMKD_DATA is not set")
@pytest.mark.parametrize("path", FILE_CARDS, ids=lambda path: path.stem)
def test_the_files_hold_what_the_card_says(path: Path):
    card = read_card(path)
    if missing_files(card, data_root()):
        pytest.skip("its files are not here")
    check_files(card, data_root())
    source = open_source(card, {}, data_root())
    rows = {split: list(source.read(split)) for split in card.splits}
    assert {split: len(examples) for split, examples in rows.items()} == card.splits
    assert len({example.id for examples in rows.values() for example in examples}) == sum(card.splits.values())
    assert all(example.words or example.image for examples in rows.values() for example in examples)
    assert written_counts(card) == real_counts(card, rows)
    for examples in rows.values():
        for example in examples[::100]:
            if example.image is not None:
                with Image.open(io.BytesIO(example.image())) as image:
                    assert min(image.convert("RGB").size) > 0


def written_counts(card: Card) -> dict[tuple[str, str], list[int]]:
    """(task, label) -> count in each split, as the card's table says."""
    lines = [line.strip("| ").split(" | ") for line in card.body.split("\n") if line.startswith("| ")]
    counts = [cells for cells in lines if len(cells) == 2 + len(card.splits) and cells[0] in card.tasks]
    return {(task, label): [int(cell.replace(",", "")) for cell in cells] for task, label, *cells in counts}


def real_counts(card: Card, rows: dict[str, list[Example]]) -> dict[tuple[str, str], list[int]]:
    """The same, counted: rows for each label, or entities for each type and words outside them."""
    counted = {split: Counter(label for example in rows[split] for label in labels(card, example)) for split in rows}
    names = {name: [shown(task.kind, label) for label in task.labels] for name, task in card.tasks.items()}
    return {
        (task, name): [counted[split][task, name] for split in rows] for task in names for name in names[task] if name
    }


def labels(card: Card, example: Example) -> list[tuple[str, str]]:
    found = []
    for name, label in example.labels.items():
        task = card.tasks[name]
        found += [(name, shown(task.kind, task.labels[i])) for i in (label if isinstance(label, tuple) else (label,))]
    return found


def shown(kind: str, label: str) -> str:
    """A label as the table calls it; nothing for the inside of an entity."""
    if kind != "tag":
        return label
    return {"O": "words outside entities (O)", "B": f"entities: {label[2:]}", "I": ""}[label[0]]
