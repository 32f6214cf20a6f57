"""The mistakes between an experiment and the cards of its data sets.

Cards come as protocols: `mmkd.data` is built on `mmkd.config`, not the other way round.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Protocol

from mmkd.config.experiment import DataUse
from mmkd.config.label_maps import label_order, names_to_map, renamed
from mmkd.config.parts import Parts
from mmkd.config.plugin_base import TaskConfig
from mmkd.config.problems import KeyPath, Problem, did_you_mean, listed

# What a task of our own can be trained on, by the card's kind of labels. A plug-in of one's own needs the level alone.
SUITS = {
    "classify": ("classify", "ordinal"),
    "ordinal": ("ordinal", "classify"),
    "tag": ("tag",),
    "multilabel": ("multilabel",),
    "regress": ("regress",),
}


class CardTaskLike(Protocol):
    """A task as a card defines it: the kind of its labels and their names, in order."""

    @property
    def kind(self) -> str:
        """`tag` labels words, all others label examples."""

    @property
    def labels(self) -> Sequence[str]:
        """Names of the classes."""


class CardLike(Protocol):
    """What the checks must know of a data card."""

    @property
    def tasks(self) -> Mapping[str, CardTaskLike]:
        """The labels that its rows have."""

    @property
    def splits(self) -> Collection[str]:
        """The splits that it has."""

    @property
    def modalities(self) -> Collection[str]:
        """`text`, `image` or both."""


def labelled_tasks(use: DataUse, card: CardLike, tasks: Collection[str]) -> dict[str, str]:
    """Experiment task -> the card's task, for those that this data set labels."""
    named = {task: task for task in tasks} if use.tasks is None else use.tasks
    return {task: theirs for task, theirs in named.items() if task in tasks and theirs in card.tasks}


def check_cards(parts: Parts, cards: Mapping[str, CardLike]) -> list[Problem]:
    """What the experiment expects of its data sets. cards: by the data set's name, those that could be read."""
    problems: list[Problem] = []
    for name, card in cards.items():
        problems += _check_use(parts, name, parts.data[name], card)
    problems += _check_labels(parts, cards)
    if set(cards) == set(parts.names("data")):  # a card that could not be read may be the one
        problems += _check_coverage(parts, cards)
    return problems


def _check_use(parts: Parts, name: str, use: DataUse, card: CardLike) -> Iterator[Problem]:
    path = ("data", name)
    named: list[tuple[KeyPath, str]] = [(("train", number), split) for number, split in enumerate(use.train)]
    named += [(("limit", split), split) for split in use.limit]
    for key, split in named:
        if split not in card.splits:
            known = listed(list(card.splits))
            yield parts.problem((*path, *key), f"the card has no split `{split}`; expected one of {known}")
    for task, theirs in (use.tasks or {}).items():
        if theirs not in card.tasks:
            advice = f"expected one of {listed(list(card.tasks))}{did_you_mean(theirs, card.tasks)}"
            yield parts.problem((*path, "tasks", task), f"the card has no task `{theirs}`; {advice}")
    used = labelled_tasks(use, card, parts.tasks)
    for task, theirs in used.items():
        yield from _check_kind(parts, _label_key(name, use, task), task, parts.tasks[task], card.tasks[theirs])
    for task in use.labels:
        if task in used:
            yield from _check_map(parts, (*path, "labels", task), use.labels[task], used[task], card.tasks[used[task]])
        else:
            text = f"the card labels no task `{task}` here; expected one of {listed(list(used))}"
            yield parts.problem((*path, "labels", task), f"{text}{did_you_mean(task, used)}")


def _check_map(
    parts: Parts, path: KeyPath, renames: Mapping[str, str | None], name: str, theirs: CardTaskLike
) -> Iterator[Problem]:
    """A map of the labels of the card's task `name`."""
    known = names_to_map(theirs.labels, theirs.kind)
    for label, ours in renames.items():
        if label not in known:
            text = f"the card has no label `{label}` of `{name}`; expected one of {listed(known)}"
            yield parts.problem((*path, label), f"{text}{did_you_mean(label, known)}")
        elif ours is None and theirs.kind == "tag":
            text = "a word cannot be left unlabelled; expected a name, or `O` for what is no entity here"
            yield parts.problem((*path, label), text)


def _label_key(name: str, use: DataUse, task: str) -> KeyPath:
    return ("data", name, "card") if use.tasks is None else ("data", name, "tasks", task)


def _check_kind(parts: Parts, path: KeyPath, name: str, task: TaskConfig, theirs: CardTaskLike) -> Iterator[Problem]:
    level = "word" if theirs.kind == "tag" else "example"
    if task.level != level or (task.kind in SUITS and task.kind not in SUITS[theirs.kind]):
        message = f"the card's labels for `{name}` are of the kind {theirs.kind}, one for each {level}"
        yield parts.problem(path, f"{message}; tasks.{name} is of the kind {task.kind}, one for each {task.level}")


def _check_labels(parts: Parts, cards: Mapping[str, CardLike]) -> Iterator[Problem]:
    for task in parts.tasks:
        sets: dict[str, tuple[str | None, ...]] = {}
        for name, card in cards.items():
            theirs = labelled_tasks(parts.data[name], card, parts.names("tasks")).get(task)
            if theirs is not None:
                labels, kind = card.tasks[theirs].labels, card.tasks[theirs].kind
                sets[name] = renamed(labels, kind, parts.data[name].labels.get(task, {}))
        stated = parts.tasks[task].labels
        order = label_order(stated, list(sets.values()))
        whose = f"of tasks.{task}.labels" if stated is not None else f"of data.{next(iter(sets), '')}"
        for name, found in sets.items():
            path, mapped = _label_key(name, parts.data[name], task), task in parts.data[name].labels
            if set(found) - {None, *order}:
                unknown = listed(sorted({label for label in found if label is not None} - set(order)))
                advice = f"map them in data.{name}.labels.{task}"
                message = f"the labels {unknown} of `{task}` are none {whose}: {listed(order)}; {advice}"
                yield parts.problem(path, message)
            elif stated is None and not mapped and found != order:
                message = f"the labels of `{task}` are {listed([str(each) for each in found])}"
                yield parts.problem(path, f"{message}; expected those {whose}, in their order: {listed(order)}")


def _check_coverage(parts: Parts, cards: Mapping[str, CardLike]) -> Iterator[Problem]:
    labelled = {
        task for name, card in cards.items() for task in labelled_tasks(parts.data[name], card, parts.names("tasks"))
    }
    theirs = sorted({task for card in cards.values() for task in card.tasks})
    for task in parts.names("tasks"):
        if task not in labelled:
            advice = f"the cards have {listed(theirs)}; name it in data.NAME.tasks{did_you_mean(task, theirs)}"
            yield parts.problem(("tasks", task), f"no data set labels this task; {advice}")
    modalities = {modality for card in cards.values() for modality in card.modalities}
    readers: list[tuple[KeyPath, str]] = [
        (("teachers", name), modality) for name, teacher in parts.teachers.items() for modality in teacher.modalities
    ]
    if parts.student is not None:
        key = "start" if parts.student.start is not None else None
        readers += [(("student", key or modality), modality) for modality in parts.student.reads]
    for path, modality in readers:
        if modality not in modalities:
            yield parts.problem(
                path, f"reads {modality}, and no data set has any; the cards have {listed(sorted(modalities))}"
            )
