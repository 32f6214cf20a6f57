"""From an experiment file to a frozen, typed `Experiment`, or to all of the file's mistakes at once.

    experiment = load("experiments/quickstart.yaml", ["train.epochs=2"])

Each section is validated by itself, a plug-in's by the `Config` of its file; the checks that need two sections to see
a mistake (`check.py`) run on the sections that are right by themselves. No torch here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmkd.config import plugins
from mmkd.config.changes import mistake_of, with_values
from mmkd.config.check import check_experiment, check_whole
from mmkd.config.check_cards import CardLike, check_cards
from mmkd.config.check_files import check_files
from mmkd.config.document import read_document
from mmkd.config.experiment import PLUGIN_MAPS, DataUse, Experiment, Student, Train
from mmkd.config.parts import Parts
from mmkd.config.plain_words import problems_of
from mmkd.config.plugin_base import LossConfig, TaskConfig, TeacherConfig, WeightingConfig
from mmkd.config.problems import ConfigError, KeyPath, Place, Problem, did_you_mean, listed, shown
from mmkd.config.section import Plugin, Section
from mmkd.config.track import not_installed
from mmkd.config.yaml_tree import Node, as_tree

ProblemAt = Callable[[KeyPath, str], Problem]
"""A mistake at a key of the experiment."""

ReadCards = Callable[[Mapping[str, DataUse], Path, ProblemAt], tuple[Mapping[str, CardLike], Sequence[Problem]]]
"""Reads the cards of the data sets that the experiment file uses: cards by the data set's name, and the mistakes of
those that cannot be read, in their own files or at a key of the experiment."""

BASES: Mapping[str, type[Section]] = {
    "data": DataUse,
    "tasks": TaskConfig,
    "teachers": TeacherConfig,
    "student": Student,
    "losses": LossConfig,
    "weighting": WeightingConfig,
    "train": Train,
}
MAPS = ("data", *PLUGIN_MAPS)


def load(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    read_cards: ReadCards | None = None,
    to_run: bool = True,
) -> Experiment:
    """Read an experiment file. overrides: `a.b.c=value`, as on the command line.

    read_cards: how to read the data cards; without it nothing is checked that a card is needed for. to_run: it is to
    run on this machine, so that models, weights, runs and trackers that it names must be here.

    Raises ConfigError with every mistake; an error inside a plug-in of one's own surfaces as itself.
    """
    root, problems = read_document(path, overrides)
    experiment, parts = _validate(root, problems)
    if to_run:
        problems += check_files(parts, Path(path).parent)
        if experiment is not None and experiment.track is not None and (absent := not_installed(experiment.track)):
            problems.append(parts.problem(("track", "kind"), absent))
    if read_cards is not None:
        cards, unread = read_cards(parts.data, Path(path), parts.problem)
        problems += [*unread, *check_cards(parts, cards)]
    return _finished(experiment, problems)


def from_plain(data: Mapping[str, Any], source: str = "stored experiment") -> Experiment:
    """An experiment from plain data, as `Experiment.dump` gives it. source: what messages call its origin.

    Files and cards are not looked for: a stored experiment may be read on another machine.

    Raises ConfigError with every mistake.
    """
    problems: list[Problem] = []
    experiment, _ = _validate(as_tree(data, Place(source)), problems)
    return _finished(experiment, problems)


def _finished(experiment: Experiment | None, problems: Sequence[Problem]) -> Experiment:
    if problems or experiment is None:
        raise ConfigError(problems)
    return experiment


def _validate(root: Node, problems: list[Problem]) -> tuple[Experiment | None, Parts]:
    """Validate each section; add the mistakes to `problems`, those between sections too."""
    valid: dict[KeyPath, Section] = {}
    plain = root.plain()
    for key, base in BASES.items():
        if key not in plain:
            continue
        if key not in MAPS:
            plain[key] = _section(root, (key,), base, valid, problems)
        elif isinstance(plain[key], dict):
            plain[key] = {name: _section(root, (key, name), base, valid, problems) for name in plain[key]}
    experiment = None
    try:
        experiment = Experiment.model_validate(plain)
    except ValidationError as error:
        problems += problems_of(error, Experiment, root, ())
    parts = Parts.of(root, valid)
    problems += check_experiment(parts)
    if experiment is not None:
        problems += check_whole(parts, experiment)
        problems += _check_changes(root, experiment, problems)
    return experiment, parts


def _check_changes(root: Node, experiment: Experiment, before: Sequence[Problem]) -> Iterator[Problem]:
    """What is wrong with the experiment's changes, and with the stages that begin with them.

    before: mistakes that are known, which every stage would have again.
    """
    known = {(problem.path, problem.message) for problem in before}
    taken, stage = dict[int, str](), experiment.model_copy(update={"changes": {}})
    for name, change in sorted(experiment.changes.items(), key=lambda item: item[1].epoch):
        path: KeyPath = ("changes", name)
        node = root.nearest(path)
        wrong: dict[KeyPath, str] = {}
        wrong |= {("set", key): text for key in change.set if (text := mistake_of(key, stage.dump())) is not None}
        if change.epoch >= experiment.train.epochs:
            wrong["epoch",] = f"found {change.epoch}; expected one below `train.epochs`, {experiment.train.epochs}"
        if change.epoch in taken:
            wrong["epoch",] = f"found {change.epoch}, as in `{taken[change.epoch]}`; expected one entry for an epoch"
        taken[change.epoch] = name
        if not wrong:
            values = {key: node.nearest(("set", key)) for key in change.set}
            found: list[Problem] = []
            new, _ = _validate(with_values(as_tree(stage.dump(), node.place), values), found)
            found = [problem for problem in found if (problem.path, problem.message) not in known]
            yield from (replace(problem, path=(*path, "set", *problem.path)) for problem in found)
            if new is not None and not found:
                wrong = {("set", key): text for key, text in _other_needs(change.set, stage, new)}
                stage = new
        for inner, text in wrong.items():
            yield Problem(node.nearest(inner).place, (*path, *inner), text)


def _other_needs(keys: Iterable[str], stage: Experiment, new: Experiment) -> Iterator[tuple[str, str]]:
    """Keys by which a loss needs something else of teachers or student than in the stage before."""
    for key in keys:
        section, name, *_ = key.split(".")
        if section == "losses":
            one, other = stage.losses[name], new.losses[name]
            if (one.teacher_needs(), one.student_needs()) != (other.teacher_needs(), other.student_needs()):
                yield key, "the loss would need something else of a teacher or of the student; expected another key"


def _section(
    root: Node, path: KeyPath, base: type[Section], valid: dict[KeyPath, Section], problems: list[Problem]
) -> Section:
    """The section at the path; in place of a wrong one an empty one of its type, so that the rest can be judged."""
    node = root.nearest(path)
    found = _section_class(node, path, base) if issubclass(base, Plugin) else base
    if isinstance(found, Problem):
        problems.append(found)
        return base.model_construct()
    try:
        valid[path] = found.model_validate(node.plain())
    except ValidationError as error:
        problems += problems_of(error, found, root, path)
        return base.model_construct()
    return valid[path]


def _section_class(node: Node, path: KeyPath, base: type[Plugin]) -> type[Section] | Problem:
    """The `Config` of the plug-in that the section names, or what is wrong with naming it."""
    folder = str(path[0])
    known = plugins.kinds(folder)
    if not isinstance(node.value, dict):
        return Problem(node.place, path, f"found {shown(node.plain())}; expected a map with the key `kind`")
    named = node.value.get("kind")
    if named is None:
        return Problem(node.place, (*path, "kind"), f"missing; expected one of {listed(known)}")
    kind, path = named.value, (*path, "kind")
    if not isinstance(kind, str):
        return Problem(named.place, path, f"found {shown(named.plain())}; expected one of {listed(known)}")
    try:
        found = plugins.config_class(folder, kind)
    except plugins.UnknownKind:
        hint = did_you_mean(kind, known)
        message = (
            f"unknown kind `{kind}`; expected one of {listed(known)}, or an importable module `package.module`{hint}"
        )
        return Problem(named.place, path, message)
    except plugins.NotAPlugin as error:
        return Problem(named.place, path, str(error))
    if not issubclass(found, base):
        message = f"`{kind}` is no plug-in for {folder}: its Config does not derive from {base.__name__}"
        return Problem(named.place, path, message)
    unset = [name for name in sorted(base.__class_vars__) if not hasattr(found, name)]
    if unset:
        return Problem(named.place, path, f"`{kind}`: its Config does not set {listed(unset)}")
    return found
