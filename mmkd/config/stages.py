"""The stages of an experiment: what each of its epochs runs under, where keys change on the way. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from mmkd.config.changes import Change, with_values
from mmkd.config.experiment import Experiment
from mmkd.config.load import from_plain
from mmkd.config.problems import Place
from mmkd.config.yaml_tree import as_tree


@dataclass(frozen=True)
class Stage:
    """Epochs of a run, counted from 0, with the same values. first, end: the first, and the one after the last.

    experiment: with those values, and without changes. begun: the whole experiment without the changes still to come.
    """

    first: int
    end: int
    experiment: Experiment
    begun: Experiment


def stages(experiment: Experiment) -> tuple[Stage, ...]:
    """Every stage, in order; one, where nothing changes.

    Raises ConfigError for values with which the experiment is none.
    """
    changes = sorted(experiment.changes.items(), key=lambda item: item[1].epoch)
    own, begun = experiment.model_copy(update={"changes": {}}), dict[str, Change]()
    found, first = list[Stage](), 0
    for name, change in changes:
        found.append(Stage(first, change.epoch, own, experiment.model_copy(update={"changes": dict(begun)})))
        begun[name], first, place = change, change.epoch, Place(f"changes.{name}")
        plain = change.model_dump(mode="json", by_alias=True)["set"]
        tree = with_values(as_tree(own.dump(), place), {key: as_tree(value, place) for key, value in plain.items()})
        own = from_plain(tree.plain(), str(place))
    return (*found, Stage(first, experiment.train.epochs, own, experiment))
