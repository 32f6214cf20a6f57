"""What an experiment expects of its data cards."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mmkd.config.experiment import DataUse
from mmkd.config.load import ProblemAt, load
from mmkd.config.problems import ConfigError, KeyPath, Place, Problem, dotted

Write = Callable[..., Path]


@dataclass(frozen=True)
class CardTask:
    kind: str
    labels: tuple[str, ...] = ("a", "b")


SENTIMENT, NER = CardTask("classify"), CardTask("tag", ("O", "B-x", "I-x"))


@dataclass(frozen=True)
class Card:
    tasks: Mapping[str, CardTask] = field(default_factory=lambda: {"sentiment": SENTIMENT, "ner": NER})
    splits: tuple[str, ...] = ("train", "transfer", "validation", "test")
    modalities: tuple[str, ...] = ("text", "image")


def found(path: Path, overrides: list[str], **cards: Card) -> list[tuple[str, str]]:
    def read(uses: Mapping[str, DataUse], near: Path, at: ProblemAt) -> tuple[dict[str, Card], list[Problem]]:
        assert near == path
        missing = [at(("data", name, "card"), "no such card") for name in uses if name not in cards]
        return {name: card for name, card in cards.items() if name in uses}, missing

    try:
        load(path, overrides, read)
    except ConfigError as error:
        return [(dotted(problem.path), problem.message) for problem in error.problems]
    return []


SECOND = "data.more.card=more"

CASES: list[tuple[list[str], dict[str, Card], list[tuple[str, str]]]] = [
    ([], {"notes": Card()}, []),
    ([], {}, [("data.notes.card", "no such card")]),
    ([], {"notes": Card(splits=("train",))}, [("data.notes.train.1", "no split `transfer`")]),
    (["data.notes.limit.validation=3"], {"notes": Card(splits=("train", "transfer"))},
     [("data.notes.limit.validation", "no split `validation`")]),
    ([], {"notes": Card({"sentiment": SENTIMENT})}, [("tasks.ner", "no data set labels this task")]),
    ([], {"notes": Card({"sentiment": SENTIMENT, "nerr": NER})}, [("tasks.ner", "did you mean `nerr`?")]),
    (["data.notes.tasks={ner: names, sentiment: mood}"], {"notes": Card({"mood": SENTIMENT, "names": NER})}, []),
    (["data.notes.tasks={ner: name}"], {"notes": Card({"names": NER})},
     [("data.notes.tasks.ner", "no task `name`; expected one of names; did you mean `names`?"),
      ("tasks.ner", "no data set labels"), ("tasks.sentiment", "no data set labels")]),
    ([], {"notes": Card({"sentiment": SENTIMENT, "ner": SENTIMENT})},
     [("data.notes.card", "kind classify, one for each example; tasks.ner is of the kind tag, one for each word")]),
    ([], {"notes": Card({"sentiment": NER, "ner": NER})}, [("data.notes.card", "kind tag, one for each word")]),
    ([], {"notes": Card({"sentiment": CardTask("regress", ()), "ner": NER})}, [("data.notes.card", "kind regress")]),
    ([], {"notes": Card({"sentiment": CardTask("ordinal"), "ner": NER})}, []),
    ([SECOND], {"notes": Card(), "more": Card({"sentiment": SENTIMENT})}, []),
    ([SECOND], {"notes": Card({"ner": NER}), "more": Card({"sentiment": SENTIMENT})}, []),
    ([SECOND], {"notes": Card(), "more": Card({"sentiment": CardTask("classify", ("b", "a"))})},
     [("data.more.card", "the labels of `sentiment` are b, a; expected those of data.notes, in their order: a, b")]),
    ([SECOND, "data.more.tasks={sentiment: mood}"],
     {"notes": Card(), "more": Card({"mood": CardTask("classify", ("a",))})},
     [("data.more.tasks.sentiment", "the labels of `sentiment` are a;")]),
    ([SECOND], {"notes": Card({"sentiment": SENTIMENT})}, [("data.more.card", "no such card")]),
    ([], {"notes": Card(modalities=("text",))},
     [("student.image", "reads image, and no data set has any; the cards have text"), ("teachers.vit", "reads image")]),
    ([SECOND], {"notes": Card(modalities=("text",)), "more": Card(modalities=("image",))}, []),
    # Labels that a map renames, and labels that the task states.
    (["data.notes.labels={sentiment: {a: good, b: bad}}"], {"notes": Card()}, []),
    (["data.notes.labels={sentiment: {a: null}}"], {"notes": Card()}, []),
    (["data.notes.labels={sentiment: {A: good}}"], {"notes": Card()},
     [("data.notes.labels.sentiment.A", "no label `A` of `sentiment`; expected one of a, b")]),
    (["data.notes.labels={sentiment: {goodd: good}}"],
     {"notes": Card({"sentiment": CardTask("classify", ("good", "bad")), "ner": NER})},
     [("data.notes.labels.sentiment.goodd", "expected one of good, bad; did you mean `good`?")]),
    (["data.notes.labels={sentimen: {a: good}}"], {"notes": Card()},
     [("data.notes.labels.sentimen", "labels no task `sentimen` here; expected one of sentiment, ner; did you mean")]),
    (["data.notes.labels={ner: {x: y}}"], {"notes": Card()}, []),
    (["data.notes.labels={ner: {B-x: y}}"], {"notes": Card()},
     [("data.notes.labels.ner.B-x", "no label `B-x` of `ner`; expected one of x")]),
    (["data.notes.labels={ner: {x: null}}"], {"notes": Card()},
     [("data.notes.labels.ner.x", "a word cannot be left unlabelled; expected a name, or `O`")]),
    (["data.notes.tasks={sentiment: mood, ner: ner}", "data.notes.labels={sentiment: {c: a}}"],
     {"notes": Card({"mood": SENTIMENT, "ner": NER})},
     [("data.notes.labels.sentiment.c", "no label `c` of `mood`")]),
    ([SECOND, "data.more.labels={sentiment: {x: a, y: b}}"],
     {"notes": Card(), "more": Card({"sentiment": CardTask("classify", ("y", "x"))})}, []),
    ([SECOND, "data.more.labels={sentiment: {x: a, y: null}}"],
     {"notes": Card(), "more": Card({"sentiment": CardTask("classify", ("y", "x"))})}, []),
    ([SECOND, "data.more.labels={sentiment: {x: a}}"],
     {"notes": Card(), "more": Card({"sentiment": CardTask("classify", ("y", "x"))})},
     [("data.more.card", "the labels y of `sentiment` are none of data.notes: a, b; map them in data.more.labels.")]),
    ([SECOND, "data.more.labels={ner: {PER: x, LOC: O}}"],
     {"notes": Card(), "more": Card({"ner": CardTask("tag", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))})}, []),
    ([SECOND, "data.more.labels={ner: {PER: x}}"],
     {"notes": Card(), "more": Card({"ner": CardTask("tag", ("O", "B-LOC", "I-LOC", "B-PER", "I-PER"))})},
     [("data.more.card", "the labels B-LOC, I-LOC of `ner` are none of data.notes: O, B-x, I-x; map them")]),
    (["tasks.sentiment.labels=[b, a]"], {"notes": Card()}, []),
    (["tasks.sentiment.labels=[b, a, c]"], {"notes": Card()}, []),
    (["tasks.sentiment.labels=[b]"], {"notes": Card()},
     [("data.notes.card", "the labels a of `sentiment` are none of tasks.sentiment.labels: b; map them")]),
    ([SECOND, "tasks.sentiment.labels=[a, b]"],
     {"notes": Card(), "more": Card({"sentiment": CardTask("classify", ("b", "a"))})}, []),
]  # fmt: skip


@pytest.mark.parametrize(("overrides", "cards", "expected"), CASES)
def test_experiment_and_cards(
    write: Write, overrides: list[str], cards: dict[str, Card], expected: list[tuple[str, str]]
) -> None:
    problems = found(write(), overrides, **cards)
    assert sorted(key for key, _ in problems) == [key for key, _ in expected]
    for (_, message), (_, words) in zip(sorted(problems), expected, strict=True):
        assert words in message


def test_a_task_of_one_s_own_needs_labels_of_its_level(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (
        "from typing import ClassVar\nfrom mmkd.config.plugin_base import TaskConfig\n"
        "class Config(TaskConfig):\n    kind: str\n    level: ClassVar[str] = 'example'\n"
    )
    (tmp_path / "tasks_lab").mkdir()
    (tmp_path / "tasks_lab" / "pairs.py").write_text(text, "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    overrides = ["tasks.sentiment.kind=tasks_lab.pairs"]
    assert found(write(), overrides, notes=Card({"sentiment": CardTask("regress", ()), "ner": NER})) == []
    ((key, message),) = found(write(), overrides, notes=Card({"sentiment": NER, "ner": NER}))
    assert key == "data.notes.card"
    assert (
        "kind tag, one for each word; tasks.sentiment is of the kind tasks_lab.pairs, one for each example" in message
    )


def test_a_card_s_own_mistakes_stand_in_the_card(write: Write) -> None:
    own = Problem(Place("data_cards/notes.md", 7), ("mmkd", "splits"), "found 3; expected a map")
    path: KeyPath = ("data", "notes", "card")
    with pytest.raises(ConfigError) as caught:
        load(write(), [], lambda uses, near, at: ({}, [own, at(path, "cannot be read")]))
    assert [str(problem).rpartition("/")[2] for problem in caught.value.problems] == [
        "experiment.yaml:3: data.notes.card: cannot be read",
        "notes.md:7: mmkd.splits: found 3; expected a map",
    ]
