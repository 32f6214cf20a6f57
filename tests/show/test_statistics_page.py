"""The statistics page: one file that needs nothing else, and shows the numbers."""

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tiny_sets
from made_rows import MOOD, NER, RISK, SCORE, TOPICS, png, row

from mmkd.data.base import Example
from mmkd.data.card import Card, CardTask, data_root, open_source, read_card
from mmkd.show.page_figures import HEIGHT, bars, dots, number
from mmkd.show.statistics import measure
from mmkd.show.statistics_page import page

CARDS = Path(__file__).parents[2] / "data_cards"


@pytest.fixture
def card(tmp_path: Path) -> Card:
    (tmp_path / "root").mkdir()
    return tiny_sets.card(tmp_path / "root", {"kind": "market_notes"}, {"mood": {"kind": "regress"}})


def with_tasks(card: Card, **tasks: CardTask) -> Card:
    return card.model_copy(update={"tasks": tasks})


class Cells(HTMLParser):
    """The texts of headings and table rows; fails when a tag is not closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.headings: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("th", "td"):
            self.rows[-1].append("")
        elif tag == "h2":
            self.headings.append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "th" in self.open or "td" in self.open:
            self.rows[-1][-1] += data
        elif "h2" in self.open:
            self.headings[-1] += data


def shown(card: Card, data: dict[str, list[Example]], findings=None) -> Cells:
    return Cells(page(card, measure(card, data, findings)))


def test_the_page_shows_the_numbers(card: Card):
    data = {
        "train": [row("good day", png(4, 3), mood=1)] * 1234 + [row("bad", mood=0)] * 766,
        "test": [row("day off", mood=0)],
    }
    cells = shown(with_tasks(card, mood=MOOD), data, {"train": {"row_repeated": 1232}, "test": {}})
    assert cells.headings == ["Rows", "Labels", "Words", "Typical words", "Images", "Findings"]
    for expected in (
        ["train", "2,000", "1,234 61.7%", "766 38.3%", "–"],
        ["bad", "766 38.3%", "1 100.0%"],
        ["good", "1,234 61.7%", "0 0.0%"],
        ["train", "2,000", "1.617", "2", "2", "1", "2"],
        ["test", "2", "2", "50.0%", "50.0%"],
        ["train", "1,234", "1,000", "0", "4", "3", str(len(png(4, 3)))],
        ["row_repeated", "1,232", "0", "an earlier row of the split has the same text and the same image"],
    ):
        assert expected in cells.rows


def test_every_kind_of_task_has_its_table(card: Card):
    tasks = {"mood": MOOD, "risk": RISK, "ner": NER, "topics": TOPICS, "score": SCORE}
    labels = {"mood": 1, "risk": 2, "ner": (1, 0), "topics": frozenset({0}), "score": 0.5}
    data = {"train": [row("Ann met", **labels), row("b c", mood=0, risk=2, score=2.0)], "transfer": [row("d")]}
    cells = shown(with_tasks(card, **tasks), data)
    assert ["PER", "1 100.0%", "–"] in cells.rows
    assert ["a", "1 100.0%", "–"] in cells.rows
    assert ["train", "2", "1.25", "1.25", "1.925", "0.5", "2"] in cells.rows
    assert cells.rows.count(["(no label)", "–", "1"]) == 2
    assert cells.rows.count(["(no label)", "1", "1"]) == 2
    assert "Labels together" in cells.headings
    assert ["good", "0 0.0%", "0 0.0%", "1 100.0%"] in cells.rows


def test_what_a_set_lacks_has_no_section(card: Card):
    assert shown(with_tasks(card), {"train": [row("a b", png(4, 3))]}).headings == ["Rows", "Words", "Images"]
    assert shown(with_tasks(card), {"train": [row("", png(4, 3))]}).headings == ["Rows", "Images"]
    assert shown(with_tasks(card, mood=MOOD), {"train": []}).headings == ["Rows", "Labels"]
    for findings in ({}, {"train": {}}):
        assert "The checks found nothing." in page(card, measure(card, {"train": []}, findings))


def test_nothing_of_the_data_becomes_markup(card: Card):
    evil = "<script>alert(1)</script>&\"'"
    task = CardTask(kind="classify", labels=(evil, "b"))
    about = card.about.model_copy(update={"pretty_name": evil, "license": evil})
    other = CardTask(kind="ordinal", labels=("a", evil))
    card = with_tasks(card, **{evil: task, "other": other}).model_copy(update={"about": about})
    data = {"train": [row(f"{evil} common", **{evil: 0, "other": 1}), row("common", **{evil: 1, "other": 0})]}
    text = page(card, measure(card, data))
    assert "script" not in Cells(text).tags
    assert evil in {cell for cells in Cells(text).rows for cell in cells}


def test_half_a_pair_of_utf_16_can_be_written(card: Card):
    card = with_tasks(card, mood=MOOD)
    text = page(card, measure(card, {"train": [row("\ud83d", mood=0), row("b", mood=1)]}))
    assert "\\ud83d" in text.encode("utf-8").decode("utf-8")


def test_the_page_asks_for_nothing_else(card: Card):
    data = {"train": [row("see https://example.org/x.png", png(4, 3), mood=1), row("b", png(9, 5), mood=0)]}
    text = page(with_tasks(card, mood=MOOD), measure(with_tasks(card, mood=MOOD), data))
    assert re.findall(r"\b(?:src|href|srcset)\s*=|url\(|@import|<link|<script|<iframe", text) == []


def test_the_figures_are_drawn_to_scale():
    figure = ElementTree.fromstring(bars([1, 0, 3], [1.0, 3.0, 5.0], 2.0, True, 0.75, "train: <share>"))
    heights = [float(each.get("height")) for each in figure.iter("rect")]
    assert heights == pytest.approx([40, 0, 120], abs=0.06)
    assert max(heights) <= HEIGHT
    tips = [each.findtext("title") for each in figure.iter("rect")]
    assert tips == ["1 to below 3: 1 rows", "3 to below 5: 0 rows", "5 and more: 3 rows"]
    assert figure.findtext("figcaption") == "train: <share>"
    figure = ElementTree.fromstring(dots([(10, 20, 1), (40, 20, 4)], 40, 20, "sizes"))
    places = [(float(each.get("cx")), float(each.get("cy")), float(each.get("r"))) for each in figure.iter("circle")]
    assert places[0][1] == places[1][1]
    assert places[0][0] < places[1][0] <= 300
    assert places[1][2] == pytest.approx(2 * places[0][2])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, "3"), (3.0, "3"), (12345, "12,345"), (12345.6, "12,346"), (13.0391, "13.04"), (-0.001234, "-0.001234")],
)
def test_numbers_in_words(value: float, expected: str):
    assert number(value) == expected


@pytest.mark.data
@pytest.mark.skipif(data_root() is None, reason="MMKD_DATA is not set")
@pytest.mark.parametrize("name", ["mvsa_single", "wnut17"])
def test_the_page_agrees_with_the_table_of_the_card(name: str):
    card = read_card(CARDS / f"{name}.md")
    if not all((data_root() / file).is_file() for file in card.files):
        pytest.skip("its files are not here")
    source = open_source(card, {}, data_root())
    rows = {split: [each for each in source.read(split) if isinstance(each, Example)] for split in card.splits}
    statistics = measure(card, rows, images=10)
    lines = [line.strip("| ").split(" | ") for line in card.body.split("\n") if line.startswith("| ")]
    lines = [cells for cells in lines if cells[0] in card.tasks and "(O)" not in cells[1]]
    assert len(lines) >= 6
    for task, label, *counts in lines:
        name = label.removeprefix("entities: ")
        found = [statistics.tasks[task].counts[split][name] for split in rows]
        assert found == [int(count.replace(",", "")) for count in counts]
    Cells(page(card, statistics))
