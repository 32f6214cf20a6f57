"""The cards of `data_cards/`: all are finished, and those whose files are here hold what they say."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean

import pytest

from mmkd.data.base import Example, Split
from mmkd.data.card import Card, data_root, open_source, read_card
from mmkd.data.card_text import mistakes
from mmkd.data.dataset import DataSet
from mmkd.data.findings import REASONS
from mmkd.data.integrity import check_files, missing_files

CARDS = sorted((Path(__file__).parents[2] / "data_cards").glob("*.md"))
EVERY_CARD = pytest.mark.parametrize("path", CARDS, ids=lambda path: path.stem)

ROWS: dict[str, tuple[int, ...]] = {
    "bc5cdr": (4560, 4581, 4797),
    "fin_sec": (1169, 306),
    "harmeme_c": (3013, 177, 354),
    "memotion7k": (4869, 685, 1438),
    "mvsa_single": (3611, 450, 450),
    "ncbi_disease": (5424, 923, 940),
    "phrasebank": (4846,),
    "propaganda_memes": (687, 63, 200),
    "sroie": (626,),
    "sst2": (6920, 872, 1821),
    "sst5": (8544, 1101, 2210),
    "tweeteval_emotion": (3257, 374, 1421),
    "tweeteval_hate": (9000, 1000, 2970),
    "tweeteval_irony": (2862, 955, 784),
    "tweeteval_offensive": (11916, 1324, 860),
    "tweeteval_sentiment": (2000, 12284),
    "twitter15_aspect": (3179, 1122, 1037),
    "twitter15_ner": (4000, 1000, 3257),
    "twitter17_aspect": (3562, 1176, 1234),
    "twitter17_ner": (3373, 723, 723),
    "wnut17": (3394, 1009, 1287),
}
"""Rows of the files' parts as others counted them, who made or copied the sets."""

SENTENCES = {"fiqa": (336 + 575, 200)}
"""Where they counted sentences, each of which has a row for each of its targets."""

DOCUMENTS = {"fin_sec": (5, 3)}
"""Agreements in each part: their first lines are counted in ROWS and are no rows."""

LABELS = {
    ("harmeme_c", "risk"): {"not harmful": 1949 + 116 + 230, "somewhat harmful": 882 + 51 + 103, "very harmful": 213},
    ("mvsa_single", "sentiment"): {"positive": 2683, "neutral": 470, "negative": 1358},
    ("phrasebank", "sentiment"): {"neutral": 2879, "positive": 1363, "negative": 604},
}
"""Rows of each label in all splits, counted by others as well."""

Table = dict[tuple[str, str], list[int]]
Rows = dict[Split, list[Example]]


def test_there_are_cards():
    assert {path.stem for path in CARDS} >= {*ROWS, *SENTENCES, "market_notes", "harmeme_c_target", "twitter15_joint"}


@EVERY_CARD
def test_a_card_is_finished(path: Path):
    card = read_card(path)
    assert list(mistakes(card)) == []
    assert all(task.metric for task in card.tasks.values())
    assert all(task.scheme == "BIO" for task in card.tasks.values() if task.kind == "tag")


def test_an_unfinished_card_is_found():
    card = read_card(CARDS[0])
    without = card.model_copy(update={"body": card.body.replace("## Citation", "## Quotation")})
    assert any("## Citation" in each for each in mistakes(without))
    other = card.model_copy(update={"splits": {**card.splits, "train": card.splits["train"] + 1}})
    assert any("dataset_info" in each for each in mistakes(other))


@EVERY_CARD
def test_what_a_card_says_of_its_rows_agrees_with_itself(path: Path):
    card = read_card(path)
    labels, found = label_table(card), findings_table(card)
    assert {task for task, _ in labels} == {*card.tasks, ""}
    stated = [rows for split, rows in card.splits.items() if split != "transfer"]
    assert [used + out for used, out in zip(labels["", "**rows**"], quarantined(card, found), strict=True)] == stated
    for reason, happens in found:
        policy = card.policy.get(reason, REASONS[reason].policy)
        assert happens == {"accept": "accepted", "quarantine": "quarantined"}[policy]
    assert set(card.policy) <= {reason for reason, _ in found}, "a policy for what is not found"
    assert card.about.language == ("en",)
    assert (card.about.model_extra or {})["size_categories"] == [size_category(sum(card.splits.values()))]


@pytest.mark.parametrize("name", ROWS)
def test_the_rows_are_as_many_as_others_counted(name: str):
    card = read_card(CARDS[0].parent / f"{name}.md")
    documents = DOCUMENTS.get(name, (0,) * len(ROWS[name]))
    assert tuple(parts(card)) == tuple(rows - n for rows, n in zip(ROWS[name], documents, strict=True))


def test_the_joint_sets_have_as_many_posts_as_others_counted():
    both = [read_card(CARDS[0].parent / f"twitter{year}_joint.md") for year in (15, 17)]
    assert sum(sum(card.splits.values()) for card in both) == 6412


@pytest.mark.parametrize(("name", "task"), LABELS)
def test_the_labels_are_as_many_as_others_counted(name: str, task: str):
    table = label_table(read_card(CARDS[0].parent / f"{name}.md"))
    assert {label: sum(table[task, label]) for label in LABELS[name, task]} == LABELS[name, task]


def test_the_made_set_holds_what_its_card_says():
    card = read_card(CARDS[0].parent / "market_notes.md")
    source = open_source(card, {}, None)
    rows = {split: [row for row in source.read(split) if isinstance(row, Example)] for split in card.splits}
    assert counted(card, rows) == label_table(card)
    assert words_of(rows) == stated_words(card)


@pytest.mark.data
@pytest.mark.skipif(data_root() is None, reason="MMKD_DATA is not set")
@EVERY_CARD
def test_the_files_hold_what_the_card_says(path: Path, tmp_path: Path):
    card, root = read_card(path), data_root()
    if missing_files(card, root):
        pytest.skip("its files are not here")
    check_files(card, root, tmp_path)
    data = DataSet(card, open_source(card, {}, root), tmp_path / "checks", {})
    report = data.report()
    assert [str(each.finding) for each in report.found if each.policy == "refuse"] == []
    found: Table = {}
    for place, account in enumerate(report.accounts.values()):
        for happens, counts in (("accepted", account.accepted), ("quarantined", account.quarantined)):
            for reason, count in counts.items():
                found.setdefault((reason, happens), [0] * len(card.splits))[place] = count
    assert findings_table(card) == found
    rows = {split: list(data.read(split)) for split in card.splits}
    assert label_table(card) == counted(card, rows)
    assert stated_words(card) == words_of(rows)
    if card.name in SENTENCES:
        sentences = {split: {row.group for row in rows[split]} for split in rows}
        assert (len(sentences["train"] | sentences["validation"]), len(sentences["test"])) == SENTENCES[card.name]


def parts(card: Card) -> Iterator[int]:
    """Rows of the files' parts: splits that were divided off one part count as it."""
    division = card.division
    if division is None:
        yield from card.splits.values()
        return
    yield sum(rows for split, rows in card.splits.items() if split in division.shares)
    yield from (rows for split, rows in card.splits.items() if split not in division.shares)


def tables(card: Card) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and rows of every table in the card's text."""
    for found in re.finditer(r"(?:^\|.*\|\n)+", card.body, re.MULTILINE):
        header, _, *rows = ([cell.strip() for cell in line[1:-1].split("|")] for line in found[0].splitlines())
        yield header, rows


def numbers(card: Card, first: list[str], splits: Sequence[str]) -> Table:
    """The card's table whose header is `first` and the splits: its first two cells -> counts."""
    found = [rows for header, rows in tables(card) if header == [*first, *splits]]
    assert len(found) <= 1
    return (
        {(one, two): [int(cell.replace(",", "")) for cell in cells] for one, two, *cells in found[0]} if found else {}
    )


def label_table(card: Card) -> Table:
    """(task, label) -> count in each labelled split, as the card says."""
    return numbers(card, ["task", "label"], [split for split in card.splits if split != "transfer"])


def findings_table(card: Card) -> Table:
    """(reason, what happens) -> findings in each split, as the card says."""
    table = numbers(card, ["finding", "rows are"], list(card.splits))
    assert bool(table) != ("`mmkd data check` finds nothing." in card.body)
    return table


def quarantined(card: Card, found: Table) -> list[int]:
    """Rows left out of each labelled split."""
    out = [counts for (_, happens), counts in found.items() if happens == "quarantined"]
    return [sum(each[place] for each in out) for place, split in enumerate(card.splits) if split != "transfer"]


def counted(card: Card, rows: Rows) -> Table:
    """The label table, counted: rows for a label, entities of a type and words outside them, values by their sign."""
    labelled = {split: examples for split, examples in rows.items() if split != "transfer"}
    counts = {
        split: Counter((task, name) for row in examples for task in row.labels for name in names(card, task, row))
        for split, examples in labelled.items()
    }
    keys = [(task, name) for task in card.tasks for name in all_names(card, task)]
    table = {key: [counts[split][key] for split in labelled] for key in keys}
    return table | {("", "**rows**"): [len(examples) for examples in labelled.values()]}


def names(card: Card, task: str, example: Example) -> list[str]:
    """What an example counts for in the rows of the task."""
    label, labels = example.labels[task], card.tasks[task].labels
    if isinstance(label, float):
        return ["below 0" if label < 0 else "above 0" if label > 0 else "0"]
    if isinstance(label, tuple):
        return [called(labels[index]) for index in label if labels[index][:2] != "I-"]
    return [labels[index] for index in (label if isinstance(label, frozenset) else {label})]


def all_names(card: Card, task: str) -> list[str]:
    """The rows of a task in the label table, in any order."""
    kind, labels = card.tasks[task].kind, card.tasks[task].labels
    if kind == "regress":
        return ["below 0", "0", "above 0"]
    return [called(label) for label in labels if label[:2] != "I-"] if kind == "tag" else list(labels)


def called(tag: str) -> str:
    """A tag as the table calls it."""
    return "words outside entities (O)" if tag == "O" else f"entities: {tag[2:]}"


def stated_words(card: Card) -> tuple[int, ...]:
    """Words in all, a row on average, at most, as the card says."""
    found = re.search(r"([\d,]+) words in all, ([\d,]+) a row on average, ([\d,]+) at most", card.body)
    assert found
    return tuple(int(number.replace(",", "")) for number in found.groups())


def words_of(rows: Rows) -> tuple[int, ...]:
    """The same, counted."""
    lengths = [len(example.words) for examples in rows.values() for example in examples]
    return sum(lengths), round(mean(lengths)), max(lengths)


def size_category(rows: int) -> str:
    """As the hub names it."""
    return "n<1K" if rows < 1000 else "1K<n<10K" if rows < 10_000 else "10K<n<100K"
