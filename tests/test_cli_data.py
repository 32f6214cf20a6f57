"""`mmkd data`: each command on a set of one's own, from files without a card to a card that passes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from ruamel.yaml import YAML
from tiny_sets import archive, picture
from typer.testing import CliRunner

from mmkd.arrays import file_hash
from mmkd.cli import app
from mmkd.data.card import read_card
from mmkd.data.card_text import SECTIONS, TO_WRITE
from mmkd.data.findings import REASONS
from mmkd.data.hub_keys import hub_keys

ROOT = Path(__file__).resolve().parent.parent
MOODS = ("bad", "good")


def rows(start: int, count: int) -> list[dict[str, Any]]:
    return [
        {"id": f"p{n}", "text": f"post {n} of {n * n}", "image": f"{n}.png", "mood": MOODS[n % 2]}
        for n in range(start, start + count)
    ]


def write(path: Path, made: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in made), "utf-8")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of files without a card, below the data root; the command is called in a project beside it."""
    folder = tmp_path / "data" / "tiny"
    folder.mkdir(parents=True)
    write(folder / "train.jsonl", rows(0, 8))
    write(folder / "test.jsonl", rows(8, 4))
    archive(folder / "images.zip", {f"{n}.png": picture(20 * n) for n in range(12)})
    (tmp_path / "project" / "data_cards").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("MMKD_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    return folder


@pytest.fixture
def card(files: Path) -> Path:
    """The card that `new` wrote, with everything written that it marked."""
    assert mmkd("new", "tiny", str(files))[0] == 0
    path = Path("data_cards/tiny.md")
    path.write_text(path.read_text("utf-8").replace(TO_WRITE, "known"), "utf-8")
    return path


def mmkd(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `mmkd data ...`."""
    done = CliRunner().invoke(app, ["data", *arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    return done.exit_code, done.stdout, done.stderr


def single_spaced(said: str) -> list[str]:
    return [" ".join(line.split()) for line in said.splitlines()]


def spoil(files: Path, card: Path, name: str, made: list[dict[str, Any]]) -> None:
    """Write another table, and its sha256 into the card."""
    before = read_card(card).files[f"tiny/{name}"].sha256
    write(files / name, made)
    card.write_text(card.read_text("utf-8").replace(before, file_hash(files / name)), "utf-8")


def test_new_writes_a_card_that_check_refuses_until_its_marks_are_written(files: Path) -> None:
    code, said, _ = mmkd("new", "tiny", str(files))
    assert code == 0
    assert said == (
        f"wrote {Path.cwd() / 'data_cards' / 'tiny.md'}; what it cannot know is marked TO WRITE: "
        "`mmkd data check tiny` says what is left\n"
    )
    code, said, told = mmkd("check", "tiny")
    assert code == 1
    assert told.count("is still to be written") == len(SECTIONS) + 4
    assert "tiny/train: 8 rows = 8 used\n" in said  # the rows are checked all the same
    path = Path("data_cards/tiny.md")
    path.write_text(path.read_text("utf-8").replace(TO_WRITE, "known"), "utf-8")
    assert mmkd("check", "tiny")[0] == 0


def test_new_says_what_it_cannot_use(files: Path) -> None:
    assert mmkd("new", "tiny", "nowhere.csv") == (
        2,
        "",
        "nowhere.csv: is not there; expected the files of the data set\n",
    )
    assert mmkd("new", "tiny", str(files))[0] == 0
    code, _, told = mmkd("new", "tiny", str(files))
    assert code == 2
    assert "the card is there" in told


def test_list_shows_each_card_with_its_rows_tasks_and_files(card: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notes = ROOT / "data_cards" / "market_notes.md"
    Path("data_cards/market_notes.md").write_bytes(notes.read_bytes())
    code, said, _ = mmkd("list")
    assert code == 0
    words = [line.split() for line in said.splitlines()]
    assert [
        "market_notes",
        "made",
        "train",
        "1,000",
        "transfer",
        "4,000",
        "validation",
        "500",
        "test",
        "1,000",
    ] in words
    assert ["tiny", "here", "train", "8", "test", "4"] in words
    assert "    text + image; mood (classify); licence: known" in said
    assert said.endswith(f"files below {os.environ['MMKD_DATA']}\n")
    monkeypatch.delenv("MMKD_DATA")
    code, said, _ = mmkd("list")
    assert code == 0
    assert ["tiny", "3", "of", "3", "missing", "train", "8", "test", "4"] in [
        line.split() for line in said.splitlines()
    ]
    assert said.endswith("MMKD_DATA is not set\n")


def test_list_names_a_card_that_cannot_be_read_and_shows_the_others(card: Path) -> None:
    text = card.read_text("utf-8").replace("  version: 1", "  version: 1\n  '[/red]': 1")
    Path("data_cards/worse.md").write_text(text, "utf-8")
    code, said, _ = mmkd("list")
    assert code == 1
    assert "worse.md:" in said
    assert "[/red]" in said, "what stands in brackets is text, not a style"
    assert "tiny here train 8 test 4" in single_spaced(said)


def test_a_project_without_cards_is_said(files: Path) -> None:
    for command in ("list", "check"):
        code, _, told = mmkd(command)
        assert code == 2
        assert told.startswith("found no cards in ")


def test_check_says_every_finding_with_its_place_and_exits_1_when_one_refuses(files: Path, card: Path) -> None:
    made = rows(0, 8)
    made[2]["mood"], made[4]["text"], made[5]["image"] = "great", "zero \0 byte", "gone.png"
    made[6]["text"] += " \u200b"
    spoil(files, card, "train.jsonl", made)
    code, said, told = mmkd("check", "tiny")
    assert (code, told) == (1, "")
    assert said.splitlines()[:2] == ["tiny/train: 8 rows = 8 used; 1 text_zero_width", "tiny/test: 4 rows = 4 used"]
    for line in (
        f"  refuse: 1 x label_unknown: {REASONS['label_unknown'].meaning}",
        "    tiny/train.jsonl:3: row 'p2': mood: found 'great'; expected one of 'bad', 'good' for the task mood",
        "    tiny/train.jsonl:5: row 'p4': text: found U+0000 in word 2 of 3 (text_nul)",
        "    tiny/train.jsonl:6: row 'p5': image: found no image 'gone.png'",
        f"  accept: 1 x text_zero_width: {REASONS['text_zero_width'].meaning}",
    ):
        assert any(each.startswith(line) for each in said.splitlines()), line
    assert "p6" not in said  # what is accepted is counted, and listed when asked for
    assert "row 'p6': text: found U+200B" in mmkd("check", "tiny", "--all")[1]


def test_check_counts_what_it_does_not_list(files: Path, card: Path) -> None:
    spoil(files, card, "train.jsonl", [row | {"mood": "great", "image": None} for row in rows(0, 20)])
    code, said, _ = mmkd("check", "tiny")
    assert code == 1
    assert said.count("expected one of 'bad', 'good'") == 12
    assert "    ... and 8 more; --all lists them" in said
    assert "found 20 rows; expected the 8 that the card states" in said
    assert mmkd("check", "tiny", "--all")[1].count("expected one of 'bad', 'good'") == 20


def test_check_follows_the_policy_of_the_card(files: Path, card: Path) -> None:
    made = rows(0, 8)
    made[2]["mood"] = "great"
    spoil(files, card, "train.jsonl", made)
    card.write_text(
        card.read_text("utf-8").replace("  version: 1", "  version: 1\n  policy: {label_unknown: quarantine}"), "utf-8"
    )
    code, said, _ = mmkd("check", "tiny")
    assert code == 0
    assert "tiny/train: 8 rows = 7 used + 1 quarantined (label_unknown)\n" in said
    assert "  quarantine: 1 x label_unknown" in said


def test_check_names_an_image_that_changed_after_a_good_check(files: Path, card: Path) -> None:
    assert mmkd("check", "tiny")[0] == 0
    whole, content = bytearray((files / "images.zip").read_bytes()), picture(60)
    whole[whole.index(content) + 40] ^= 1
    (files / "images.zip").write_bytes(whole)
    code, _, told = mmkd("check", "tiny")
    assert code == 1
    assert "damaged (cannot be read, or another CRC-32 than their own): 3.png" in told


def test_check_without_names_passes_over_cards_whose_files_are_not_here(
    card: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = card.read_text("utf-8").replace("tiny/", "elsewhere/")
    (card.parent / "other.md").write_text(other, "utf-8")
    code, said, _ = mmkd("check")
    assert code == 0
    assert "other: files are not here; rows were not checked\n" in said
    assert "tiny/train: 8 rows = 8 used\n" in said
    code, _, told = mmkd("check", "other")
    assert code == 1
    assert "3 of 3 files are missing" in told
    (card.parent / "other.md").write_text(other.replace("## Summary", "## Sumary"), "utf-8")
    code, _, told = mmkd("check")
    assert code == 1
    assert "other.md: found no section `## Summary`" in told


def test_an_unknown_card_is_named_with_its_neighbour(card: Path) -> None:
    for command in ("check", "show", "hub", "croissant"):
        code, said, told = mmkd(command, "tinny")
        assert (code, said) == (2, "")
        assert "found no data card `tinny`" in told
        assert "did you mean `tiny`?" in told


def test_check_lists_the_reasons(files: Path) -> None:
    code, said, _ = mmkd("check", "--reasons")
    assert code == 0
    for reason, each in REASONS.items():
        (line,) = [line for line in said.splitlines() if line.split() and line.split()[0] == reason]
        cells = re.split(r"\s{2,}", line.strip())
        assert cells[1] == each.policy
        assert ("accept" in cells[2]) == each.usable


def test_show_draws_a_sheet_and_writes_a_page(files: Path, card: Path, tmp_path: Path) -> None:
    code, said, _ = mmkd("show", "tiny", "--rows", "4")
    assert code == 0
    folder = Path.cwd() / "results" / "data"
    assert said == f"wrote {folder / 'tiny.png'}\nwrote {folder / 'tiny.html'}\n"
    with Image.open(folder / "tiny.png") as sheet:
        assert min(sheet.size) > 100
    assert "<html" in (folder / "tiny.html").read_text("utf-8")
    assert mmkd("show", "tiny", "--out", str(tmp_path / "out"))[0] == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"tiny.png", "tiny.html"}
    made = rows(0, 8)
    made[1]["mood"] = "great"
    spoil(files, card, "train.jsonl", made)
    code, _, told = mmkd("show", "tiny", "--out", str(tmp_path / "refused"))
    assert code == 2
    assert "1 finding refuses the data" in told
    assert not (tmp_path / "refused").exists()


def test_hub_prints_the_keys_as_yaml(card: Path) -> None:
    code, said, _ = mmkd("hub", "tiny")
    assert code == 0
    printed = YAML(typ="safe").load(said)
    assert printed == hub_keys(read_card(card))
    assert printed["configs"][0]["data_files"] == [
        {"split": "train", "path": "tiny/train.jsonl"},
        {"split": "test", "path": "tiny/test.jsonl"},
    ]


def test_croissant_prints_json(card: Path) -> None:
    code, said, _ = mmkd("croissant", "tiny")
    assert code == 0
    assert json.loads(said)["@type"] == "sc:Dataset"
    assert json.loads(said)["name"] == "tiny"


@pytest.mark.parametrize("command", [("list",), ("check", "tiny"), ("hub", "tiny"), ("croissant", "tiny")])
def test_no_torch_is_imported(card: Path, command: tuple[str, ...]) -> None:
    code = (
        "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules)); from mmkd.cli import main; main()"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code, "data", *command], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
