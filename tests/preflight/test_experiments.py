"""No experiment of the project is stopped by its preflight: teachers of one epoch, some rows of each set."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from rich.progress import Progress

from mmkd.config import plugins
from mmkd.config.load import load
from mmkd.data.card import data_root, read_card
from mmkd.data.cards import read_cards
from mmkd.data.integrity import missing_files
from mmkd.deep_check import deep_check

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ROOT / "experiments"
FILES = sorted(
    path.relative_to(EXPERIMENTS) for part in (".", "papers") for path in (EXPERIMENTS / part).glob("*.yaml")
)
EMBEDDED = {"market_notes", "digits"}
"""Cards whose rows come with the package."""
LIMIT = {"train": 120, "transfer": 40, "validation": 40, "test": 40}
KINDS = [plugins.load("losses", kind) for kind in plugins.kinds("losses")]
"""Imported before an experiment is read, so that each kind has one `Config` class for the type checks of the tests."""


def cards_of(file: Path) -> set[str]:
    """As the file and its base name them: it cannot be loaded where its data is not at hand."""
    text = (EXPERIMENTS / file).read_text("utf-8")
    base = re.search(r"^extends: (\S+)", text, re.MULTILINE)
    own = set(re.findall(r"\bcard: (\w+)", text))
    return own if base is None else own | cards_of(file.parent / base[1])


def marked(file: Path) -> object:
    quick = file.stem in ("quickstart", "quickstart_alone", "hinton_digits_alone")
    marks = [pytest.mark.data] if not cards_of(file) <= EMBEDDED else [] if quick else [pytest.mark.slow]
    return pytest.param(file, marks=marks, id=file.as_posix())


@pytest.mark.parametrize("file", [marked(file) for file in FILES])
def test_is_not_stopped(file: Path, tmp_path: Path) -> None:
    path = EXPERIMENTS / file
    cards = [read_card(ROOT / "data_cards" / f"{name}.md") for name in cards_of(file)]
    if any(missing_files(card, data_root()) for card in cards):
        pytest.skip("its files are not here")
    whole = load(path, [], read_cards)
    short = [f"teachers.{name}.finetune.epochs=1" for name in whole.teachers]
    for name, use in whole.data.items():
        short += [f"data.{name}.limit.{split}={LIMIT[split]}" for split in (*use.train, "validation", "test")]
    shutil.copytree(ROOT / "data_cards", tmp_path / "data_cards")
    near = tmp_path / "experiments" / path.name
    report = deep_check(load(path, short, read_cards), near, Progress(disable=True)).require()
    assert report.rows > 0
    assert len(report.looked) > len(whole.teachers) + 5
