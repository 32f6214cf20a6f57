"""The data sets of an experiment together: which rows train, select and test, and what the tasks' labels are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mmkd.config.augment import Augment
from mmkd.config.experiment import DataUse
from mmkd.config.label_maps import label_order, renamed
from mmkd.config.local import local_path
from mmkd.data.account import Account
from mmkd.data.augment_text import Lexicon, read_lexicon
from mmkd.data.base import DataError
from mmkd.data.card import Card, data_root, find_card, open_source, read_card
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.dataset import DataSet
from mmkd.data.encode import DataSplit, Views
from mmkd.data.findings import policy_mistakes
from mmkd.data.integrity import check_files
from mmkd.data.relabel import FORMS, MISSING, LabelForm, LabelUse
from mmkd.data.sealed import SPLIT, Seal

Follow = Callable[[str], Callable[[int, int], None]]
"""Gives a progress bar of that name, as a function of work done and work in all."""


class TaskLike(Protocol):
    """What the mix must know of a task of the experiment. labels: their names in order, None as the data has them."""

    @property
    def level(self) -> str:
        """`example` or `word`."""
        ...

    @property
    def labels(self) -> Sequence[str] | None:
        """Names of the labels, in the order of the logits; None: those of the data."""
        ...


@dataclass(frozen=True)
class Member:
    """One data set of the mix. tasks: experiment task -> the card's task."""

    name: str
    use: DataUse
    card: Card
    data: DataSet
    tasks: Mapping[str, str]

    def labels(self, task: str) -> tuple[str | None, ...]:
        """The card's labels of a task, as the experiment calls them; None for those that are left out."""
        theirs = self.card.tasks[self.tasks[task]]
        return renamed(theirs.labels, theirs.kind, self.use.labels.get(task, {}))


def _silent(label: str) -> Callable[[int, int], None]:
    return lambda done, total: None


class Mix:
    """Opens the data sets of an experiment, and joins their splits to corpora."""

    def __init__(
        self,
        uses: Mapping[str, DataUse],
        tasks: Mapping[str, TaskLike],
        near: Path,
        folder: Path,
        augment: Augment | None = None,
        follow: Follow = _silent,
    ) -> None:
        """near: the experiment file. folder: of the encoded data and of the checks.

        Raises CardError, OptionError or DataError when a card, an option, a file or a row is not as it must be: every
        file's sha256 is compared with the card, and every row is checked.
        """
        self._tasks, self._folder, self._augment = dict(tasks), folder, augment
        self._lexicon = _lexicon(augment)
        self._seal = Seal()
        self.members = [self._open(name, use, near, follow) for name, use in uses.items()]
        self._splits: dict[tuple[str, str], DataSplit] = {}

    def _open(self, name: str, use: DataUse, near: Path, follow: Follow) -> Member:
        for reason, message in policy_mistakes(use.policy).items():
            raise DataError(None, None, f"data.{name}.policy.{reason}", message)
        card, root = read_card(find_card(use.card, near)), data_root()
        check_files(card, root, self._folder / "files")
        source = open_source(card, use.options, root)
        data = DataSet(card, source, self._folder / "checks", use.policy, not use.options, self._seal)
        data.report(follow(f"check {name}")).require(card.name)
        return Member(name, use, card, data, tasks_of(use, card.tasks, self._tasks))

    def labels(self, task: str) -> tuple[str, ...]:
        """Names of a task's labels, in the order of the logits; none for a task whose labels are values.

        Raises LookupError when no data set labels the task.
        """
        sets = [member.labels(task) for member in self.members if task in member.tasks]
        if not sets:
            raise LookupError(f"tasks.{task}: no data set of the experiment labels it")
        return label_order(self._tasks[task].labels, sets)

    def accounts(self) -> dict[str, Account]:
        """`data set/split` -> account of its rows, for every split that a run reads."""
        return {
            f"{member.name}/{split}": member.data.report().accounts[split]
            for member in self.members
            for split in _read_by_a_run(member)
        }

    def training(self, readers: Readers, view: int | None = None, folder: Path | None = None) -> Corpus:
        """The rows that the student trains on: each data set's `train` splits.

        view: which view of them, for an experiment that augments; folder: where it is encoded, None: with the rest.
        """
        splits = [self._data(member, split) for member in self.members for split in member.use.train]
        if view is not None and self._augment is not None:
            by_name = {member.name: self._views(member, self._augment) for member in self.members}
            splits = [each.at_view(by_name[each.data], view, folder) for each in splits]
        return Corpus(splits, self._forms(), readers)

    def split(self, name: str, readers: Readers, tasks: Sequence[str] | None = None) -> Corpus:
        """That split of every data set that has it; with `tasks`, of those only that label one of them.

        Raises Sealed for the test split, unless it is opened.
        """
        if name == SPLIT:
            self._seal.require_open(f"split {name}")
        chosen = [m for m in self.members if tasks is None or set(tasks) & set(m.tasks)]
        splits = [self._data(member, name) for member in chosen if name in member.card.splits]
        return Corpus(splits, self._forms(), readers)

    def unlabelled(self, name: str, readers: Readers, tasks: Sequence[str]) -> Corpus:
        """That split of the data sets that label one of the tasks, without the labels of any."""
        chosen = [m for m in self.members if set(tasks) & set(m.tasks) and name in m.card.splits]
        splits = [self._new(member, name, {}) for member in chosen]
        return Corpus(splits, self._forms(), readers)

    @contextmanager
    def test_opened(self) -> Iterator[None]:
        """Let the test labels be read for as long as the context lasts: by the final evaluation."""
        with self._seal.opened():
            try:
                yield
            finally:
                for member in self.members:
                    self._splits.pop((member.name, SPLIT), None)

    def labelled_texts(self) -> list[tuple[str, ...]]:
        """Words of all `train` rows, in order: what tokenizers are trained on."""
        return [example.words for member in self.members for example in self._data(member, "train").examples()]

    def fingerprint(self, split: str, tasks: Sequence[str] | None = None) -> dict[str, str]:
        """Data set -> sha256 of that split's rows."""
        return {
            m.name: self._data(m, split).fingerprint
            for m in self.members
            if split in m.card.splits and (tasks is None or set(tasks) & set(m.tasks))
        }

    def fingerprints(self) -> dict[str, str]:
        """`data set/split` -> sha256 of its rows, for every split that a run reads."""
        return {
            f"{member.name}/{split}": self._data(member, split).fingerprint
            for member in self.members
            for split in _read_by_a_run(member)
        }

    def ceilings(self, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """Best reachable scores by experiment task, from the data sets that know them.

        Raises Sealed for the test split, unless it is opened.
        """
        if split == SPLIT:
            self._seal.require_open(f"ceilings of {split}")
        found: dict[str, dict[str, dict[str, float]]] = {}
        for member in self.members:
            known = member.data.source.ceilings(split) or {}
            found |= {task: known[name] for task, name in member.tasks.items() if name in known}
        return found

    def _forms(self) -> dict[str, LabelForm]:
        forms = {}
        for task, config in self._tasks.items():
            kinds = [m.card.tasks[m.tasks[task]].kind for m in self.members if task in m.tasks]
            form = FORMS[kinds[0]] if kinds else "words" if config.level == "word" else "class"
            forms[task] = LabelForm(form, len(self.labels(task)) if kinds else 0)
        return forms

    def _data(self, member: Member, split: str) -> DataSplit:
        key = (member.name, split)
        if key not in self._splits:
            forms = self._forms()
            uses = {task: self._use(member, task, forms[task]) for task in member.tasks}
            self._splits[key] = self._new(member, split, uses)
        return self._splits[key]

    def _new(self, member: Member, split: str, uses: Mapping[str, LabelUse]) -> DataSplit:
        limits = {str(name): rows for name, rows in member.use.limit.items()}
        return DataSplit(member.name, split, member.data, self._folder, uses, limits.get(split))

    def _use(self, member: Member, task: str, form: LabelForm) -> LabelUse:
        """Raises DataError for a label that is none of the task's."""
        order = {label: number for number, label in enumerate(self.labels(task))}
        names = member.labels(task)
        unknown = sorted({name for name in names if name is not None} - set(order))
        if unknown:
            message = f"the labels {', '.join(unknown)} of `{task}` are none of {', '.join(order)}; map them to some"
            raise DataError(member.card.path, None, f"data.{member.name}.labels.{task}", message)
        return LabelUse(member.tasks[task], form, tuple(MISSING if name is None else order[name] for name in names))

    def _views(self, member: Member, augment: Augment) -> Views:
        tags = {name: task.labels for name, task in member.card.tasks.items() if task.kind == "tag"}
        return Views(augment, tags, self._lexicon)


def _lexicon(augment: Augment | None) -> Lexicon:
    """Raises DataError when the lexicon is not there or cannot be read."""
    named = None if augment is None or augment.text is None else augment.text.lexicon
    if named is None:
        return {}
    path = local_path(named)
    if path is None:
        message = "is not there, in the working folder or below MMKD_DATA; expected the file of synonyms"
        raise DataError(named, None, "augment.text.lexicon", message)
    return read_lexicon(path)


def _read_by_a_run(member: Member) -> list[str]:
    wanted = dict.fromkeys((*member.use.train, "validation", "test"))
    return [split for split in wanted if split in member.card.splits]


def tasks_of(use: DataUse, card_tasks: Mapping[str, object], tasks: Mapping[str, object]) -> dict[str, str]:
    """Experiment task -> the card's task: as `data.X.tasks` says, otherwise those of equal name."""
    if use.tasks is not None:
        return dict(use.tasks)
    return {name: name for name in tasks if name in card_tasks}
