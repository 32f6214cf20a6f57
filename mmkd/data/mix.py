"""The data sets of an experiment together: which rows train, select and test, and what the tasks' labels are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.config.experiment import DataUse
from mmkd.data.base import Source
from mmkd.data.card import Card, check_files, data_root, find_card, open_source, read_card
from mmkd.data.corpus import Corpus, Readers
from mmkd.data.encode import DataSplit


@dataclass(frozen=True)
class Member:
    """One data set of the mix. tasks: experiment task -> the card's task."""

    name: str
    use: DataUse
    card: Card
    source: Source
    tasks: Mapping[str, str]


class Mix:
    """Opens the data sets of an experiment, and joins their splits to corpora."""

    def __init__(self, uses: Mapping[str, DataUse], levels: Mapping[str, str], near: Path, folder: Path) -> None:
        """levels: experiment task -> `example` or `word`. near: the experiment file. folder: of the encoded data.

        Raises CardError, OptionError or DataError when a card, an option or a file is not as it must be; every
        file's sha256 is compared with the card.
        """
        self.levels, self._folder = dict(levels), folder
        self.members = []
        root = data_root()
        for name, use in uses.items():
            card = read_card(find_card(use.card, near))
            check_files(card, root)
            source = open_source(card, use.options, root)
            self.members.append(Member(name, use, card, source, tasks_of(use, card.tasks, levels)))
        self._splits: dict[tuple[str, str], DataSplit] = {}

    def labels(self, task: str) -> tuple[str, ...]:
        """Names of a task's labels, in the order of the logits.

        Raises LookupError when no data set labels the task.
        """
        for member in self.members:
            if task in member.tasks:
                return member.card.tasks[member.tasks[task]].labels
        raise LookupError(f"tasks.{task}: no data set of the experiment labels it")

    def training(self, readers: Readers) -> Corpus:
        """The rows that the student trains on: each data set's `train` splits."""
        return self._corpus([(member, split) for member in self.members for split in member.use.train], readers)

    def split(self, name: str, readers: Readers, tasks: Sequence[str] | None = None) -> Corpus:
        """That split of every data set that has it; with `tasks`, of those only that label one of them."""
        chosen = [m for m in self.members if tasks is None or set(tasks) & set(m.tasks)]
        return self._corpus([(member, name) for member in chosen if name in member.card.splits], readers)

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
            for split in dict.fromkeys((*member.use.train, "validation", "test"))
            if split in member.card.splits
        }

    def ceilings(self, split: str) -> dict[str, dict[str, dict[str, float]]]:
        """Best reachable scores by experiment task, from the data sets that know them."""
        found: dict[str, dict[str, dict[str, float]]] = {}
        for member in self.members:
            known = member.source.ceilings(split) or {}
            found |= {task: known[name] for task, name in member.tasks.items() if name in known}
        return found

    def _corpus(self, parts: Sequence[tuple[Member, str]], readers: Readers) -> Corpus:
        splits = [self._data(member, split) for member, split in parts]
        return Corpus(splits, [member.tasks for member, _ in parts], self.levels, readers)

    def _data(self, member: Member, split: str) -> DataSplit:
        key = (member.name, split)
        if key not in self._splits:
            levels = {name: "word" if task.kind == "tag" else "example" for name, task in member.card.tasks.items()}
            limits = {str(name): rows for name, rows in member.use.limit.items()}
            self._splits[key] = DataSplit(member.name, split, member.source, self._folder, levels, limits.get(split))
        return self._splits[key]


def tasks_of(use: DataUse, card_tasks: Mapping[str, object], tasks: Mapping[str, object]) -> dict[str, str]:
    """Experiment task -> the card's task: as `data.X.tasks` says, otherwise those of equal name."""
    if use.tasks is not None:
        return dict(use.tasks)
    return {name: name for name in tasks if name in card_tasks}
