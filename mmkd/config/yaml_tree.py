"""Reads YAML 1.2 into a tree in which every value knows its place.

Only data: plain scalars follow the core schema (yaml.org/spec/1.2.2, section 10.3.2), so `3e-4` is a number and
`no` is text. Tags, anchors and aliases are refused: what a file says should be readable where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, Event, MappingStartEvent, NodeEvent, SequenceStartEvent
from ruamel.yaml.reader import ReaderError

from mmkd.config.problems import ConfigError, KeyPath, Place, Problem, shown
from mmkd.secrets import BLOT, Secrets

MAX_DEPTH = 30  # an experiment needs about 5; the bound keeps recursion finite
MAX_VALUES = 3000  # an experiment has about 300; the bound keeps the list of all its mistakes, and its time, finite

ELSEWHERE = "expected none in a file, whose content records keep; set it in the environment"
"""What to do with a secret."""

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Node:
    """A value and its place: the line of its key in a map, its own line in a list."""

    value: dict[str, Node] | list[Node] | Scalar
    place: Place

    def plain(self) -> Any:
        """The value as plain dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    @property
    def entries(self) -> dict[str, Node]:
        """The entries of a map; none for anything else."""
        return self.value if isinstance(self.value, dict) else {}

    def child(self, key: str | int) -> Node | None:
        """The entry of a map or the item of a list; None when there is no such thing."""
        if isinstance(self.value, list):
            return self.value[key] if isinstance(key, int) and key < len(self.value) else None
        return self.entries.get(str(key))

    def nearest(self, path: KeyPath) -> Node:
        """The node at the path, or the deepest one on the way to it."""
        node = self
        for key in path:
            inner = node.child(key)
            if inner is None:
                break
            node = inner
        return node


def as_tree(value: Any, place: Place) -> Node:
    """Plain data as a tree in which everything stands at one place."""
    if isinstance(value, dict):
        return Node({str(key): as_tree(item, place) for key, item in value.items()}, place)
    if isinstance(value, list | tuple):
        return Node([as_tree(item, place) for item in value], place)
    return Node(value, place)


def parse(text: str, place_of: Callable[[int], Place]) -> tuple[Node, list[Problem]]:
    """Read one YAML document. place_of: the place of a line, counted from 1.

    Returns the tree, and the mistakes that do not keep the rest from being read (a key given twice, for example).

    Raises ConfigError when the text is no YAML.
    """
    cause: YAMLError
    builder = _Builder(YAML(typ="safe", pure=True).parse(text), place_of)
    try:
        return builder.document(), builder.problems
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = 1 if mark is None else mark.line + 1
        message, cause = _not_yaml(error, text, line), error
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message, cause = "found a character that text does not hold; expected a YAML file", error
    raise ConfigError([*builder.problems, Problem(place_of(line), (), message)]) from cause


def _not_yaml(error: MarkedYAMLError, text: str, line: int) -> str:
    if re.match(r" *\t", "".join(text.splitlines()[line - 1 : line])):
        return "found a tab; expected spaces for indentation"
    return f"not YAML: {' '.join(filter(None, (error.context, error.problem)))}"


class _Builder:
    """Builds the tree out of the parser's events."""

    def __init__(self, events: Iterator[Event], place_of: Callable[[int], Place]) -> None:
        self.events, self.place_of = events, place_of
        self.problems: list[Problem] = []
        self.values, self.secrets = 0, Secrets.here()

    def document(self) -> Node:
        """The one document of the stream; null for an empty stream."""
        place = self.place_of(1)
        next(self.events)  # the stream's start
        if not isinstance(next(self.events), DocumentStartEvent):
            return Node(None, place)
        root = self.value(next(self.events), (), None)
        next(self.events)  # the document's end
        after = next(self.events)
        if isinstance(after, DocumentStartEvent):
            self.report(after, (), "found a second document (`---`); expected one")
        return Node(root.value, place)

    def next_node(self) -> Event | None:
        """The start of the next value; None at the end of the map or list."""
        event = next(self.events)
        return event if isinstance(event, NodeEvent) else None

    def value(self, event: Any, path: KeyPath, place: Place | None) -> Node:
        """The value that starts with the event. place: of its key, in a map."""
        place = place or self.place_of(event.start_mark.line + 1)
        if len(path) > MAX_DEPTH:
            raise ConfigError([Problem(place, path[:3], f"found values nested deeper than {MAX_DEPTH}")])
        self.values += 1
        if self.values > MAX_VALUES:
            raise ConfigError([*self.problems, Problem(place, (), f"found more than {MAX_VALUES} values")])
        if isinstance(event, AliasEvent):
            self.report(event, path, f"found the alias `*{event.anchor}`; expected the value itself")
            return Node(None, place)
        if event.anchor is not None:
            self.report(event, path, f"found the anchor `&{event.anchor}`; expected a value without one")
        if event.tag is not None:
            self.report(event, path, f"found the tag `{event.tag}`; expected a value without one")
        if isinstance(event, MappingStartEvent):
            return Node(self.mapping(path), place)
        if isinstance(event, SequenceStartEvent):
            return Node(self.sequence(path), place)
        if secret := self.secrets.kind_of(event.value, path[-1] if path else None):
            self.report(event, path, f"found {secret}; {ELSEWHERE}")
            return Node(BLOT, place)
        value = scalar(event.value) if event.implicit[0] else event.value
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            self.report(event, path, f"found an integer of {len(event.value)} digits; expected one of 64 bits at most")
        return Node(value, place)

    def mapping(self, path: KeyPath) -> dict[str, Node]:
        """The entries up to the map's end; of a key given twice, the first."""
        entries: dict[str, Node] = {}
        while event := self.next_node():
            place = self.place_of(event.start_mark.line + 1)
            key = self.value(event, (*path, "?"), place).value
            node = self.value(next(self.events), (*path, str(key)), place)
            if not isinstance(key, str):
                self.report(event, path, f"found {shown(key)} as a key; expected text (put it into quotes)")
            elif key in entries:
                message = f"found the key a second time, first at {entries[key].place}; expected it once"
                self.report(event, (*path, key), message)
            else:
                entries[key] = node
        return entries

    def sequence(self, path: KeyPath) -> list[Node]:
        """The items up to the list's end."""
        items: list[Node] = []
        while event := self.next_node():
            items.append(self.value(event, (*path, len(items)), None))
        return items

    def report(self, event: Event, path: KeyPath, message: str) -> None:
        """Note a mistake and go on."""
        self.problems.append(Problem(self.place_of(event.start_mark.line + 1), path, message))


def scalar(text: str) -> Scalar:
    """The value of a plain (unquoted) scalar by YAML 1.2's core schema; what is nothing else is text."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE"):
        return True
    if text in ("false", "False", "FALSE"):
        return False
    # Python refuses to read integers of thousands of digits; here they become floats, and so infinite.
    if re.fullmatch(r"[-+]?[0-9]{1,400}", text, re.ASCII):
        return int(text)
    if re.fullmatch(r"0o[0-7]+|0x[0-9a-fA-F]+", text):
        return int(text, 0)
    if re.fullmatch(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", text, re.ASCII):
        return float(text)
    if re.fullmatch(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", text):
        return float(text.replace(".", ""))
    return text
