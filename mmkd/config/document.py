"""An experiment file, its base and the overrides of the command line, merged into one tree.

A file may build on another: `extends: base.yaml`, relative to itself, one level. Then, and for overrides alike:

- maps merge by key; a list or a scalar replaces what was there;
- a map with another `kind` replaces the whole map, so that no key of the old kind stays behind;
- null for an entry of `data`, `tasks`, `teachers`, `losses` or `changes` removes it; null for any other key is its
  value (`train.patience: null`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from mmkd.config.problems import ConfigError, KeyPath, Place, Problem, did_you_mean, dotted, listed, shown
from mmkd.config.yaml_tree import ELSEWHERE, Node, parse
from mmkd.secrets import redacted

NAMED_MAPS = ("data", "tasks", "teachers", "losses", "changes")
"""Sections whose entries have names that the experiment gives; null removes such an entry."""

MAX_BYTES = 200_000  # an experiment has about 5,000


def read_document(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> tuple[Node, list[Problem]]:
    """The merged tree of an experiment file, without `extends`, and the mistakes found on the way.

    overrides: `a.b.c=value`, the value in YAML.

    Raises ConfigError when there is no tree to go on with.
    """
    file = Path(path)
    own, problems = read_file(file)
    named = own.entries.pop("extends", None)
    layers = [own]
    if named is not None:
        try:
            base, base_problems = _read_base(named, file)
        except ConfigError as error:  # without its base, nearly everything would look missing
            raise ConfigError([*problems, *error.problems]) from error
        layers = [base, own]
        problems += base_problems
    if overrides:
        changes, override_problems = parse_overrides(overrides)
        layers.append(changes)
        problems += override_problems
    merged = Node({}, own.place)
    for layer in layers:
        merged = merge(merged, layer, (), problems)
    return Node(merged.value, own.place), problems


def read_file(file: Path) -> tuple[Node, list[Problem]]:
    """The tree of one file, and the mistakes found on the way.

    Raises ConfigError when there is no tree to go on with.
    """
    place = Place(str(file), 1)
    try:
        with file.open("rb") as stream:  # what is no plain file has no size to ask for
            content = stream.read(MAX_BYTES + 1)
        size = max(len(content), file.stat().st_size)
    except OSError as error:
        message = f"cannot be read ({error.strerror}); expected a YAML file"
        raise ConfigError([Problem(Place(str(file)), (), message)]) from error
    if size > MAX_BYTES:
        message = f"found {size} bytes; expected a YAML file of at most {MAX_BYTES}"
        raise ConfigError([Problem(place, (), message)])
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        message = f"found the byte 0x{content[error.start]:02x}; expected text in UTF-8"
        raise ConfigError([Problem(Place(str(file), line), (), message)]) from error
    root, problems = parse(text, lambda line: Place(str(file), line))
    if root.value is None:
        raise ConfigError([Problem(place, (), "the file is empty; expected `key: value` lines (a map)"), *problems])
    if not isinstance(root.value, dict):
        raise ConfigError([Problem(place, (), "expected `key: value` lines (a map)"), *problems])
    return root, problems


def _read_base(named: Node, file: Path) -> tuple[Node, list[Problem]]:
    """The file that `file` extends. named: the value of `extends`."""
    if not isinstance(named.value, str):
        message = f"found {shown(named.plain())}; expected the path of one base file"
        raise ConfigError([Problem(named.place, ("extends",), message)])
    base_file = Path(os.path.normpath(file.parent / named.value))
    if not base_file.is_file():
        near = did_you_mean(named.value, (other.name for other in file.parent.glob("*.yaml") if other != file))
        message = f"there is no file {base_file}; expected a path relative to this file{near}"
        raise ConfigError([Problem(named.place, ("extends",), message)])
    base, problems = read_file(base_file)
    further = base.entries.pop("extends", None)
    if further is not None:
        message = f"a base file may not extend another; {file} extends this one"
        problems.append(Problem(further.place, ("extends",), message))
    return base, problems


def parse_overrides(overrides: Sequence[str]) -> tuple[Node, list[Problem]]:
    """All overrides as one tree, so that their order does not matter."""
    root, problems = Node({}, Place("command line")), list[Problem]()
    for override in overrides:
        if (clean := redacted(override)) != override:
            problems.append(Problem(Place(f"command line: {clean}"), (), f"found a secret; {ELSEWHERE}"))
            continue
        place = Place(f"command line: {override}")
        name, equals, text = override.partition("=")
        keys = tuple(name.strip().split("."))
        if not equals or not all(keys) or not text.strip():
            problems.append(Problem(place, (), "expected `section.key=value`"))
            continue
        try:
            value, mistakes = parse(text, partial(_always, place))
        except ConfigError as error:
            problems += [Problem(place, keys, problem.message) for problem in error.problems]
            continue
        problems += [Problem(place, (*keys, *mistake.path), mistake.message) for mistake in mistakes]
        problems += _insert(root, keys, Node(value.value, place))
    return root, problems


def override(key: str, value: object) -> str:
    """A key and a value as the command line takes them, with all digits."""
    return f"{key}={json.dumps(value, ensure_ascii=False)}"


def _always(place: Place, line: int) -> Place:
    return place


def _insert(root: Node, keys: tuple[str, ...], node: Node) -> list[Problem]:
    for depth, key in enumerate(keys[:-1], 1):
        root = root.entries.setdefault(key, Node({}, node.place))
        if not isinstance(root.value, dict):
            message = f"`{dotted(keys[:depth])}` is also set as a whole; expected one of the two"
            return [Problem(node.place, keys, message)]
    if keys[-1] in root.entries:
        return [Problem(node.place, keys, "set twice, as a whole or in part; expected it once")]
    root.entries[keys[-1]] = node
    return []


def merge(below: Node, above: Node, path: KeyPath, problems: list[Problem]) -> Node:
    """`above` laid over `below`; mistakes of removing are added to `problems`.

    A map that changes only in part keeps its place: a key that it lacks, it lacked before.
    """
    if not isinstance(above.value, dict):
        return above
    old = below.entries
    if "kind" in old and "kind" in above.value and old["kind"].value != above.value["kind"].value:
        old = {}
    merged = dict(old)
    for key, node in above.value.items():
        if node.value is None and len(path) == 1 and path[0] in NAMED_MAPS:
            if merged.pop(key, None) is None:
                message = f"null removes an entry, and there is none of this name in `{path[0]}`; there are: "
                problems.append(Problem(node.place, (*path, key), message + listed(list(old)) + did_you_mean(key, old)))
        else:
            merged[key] = merge(old.get(key, Node(None, node.place)), node, (*path, key), problems)
    return Node(merged, below.place if old else above.place)
