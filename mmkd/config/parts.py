"""The sections of an experiment file that are right by themselves, each with its type, beside the file's tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from mmkd.config.experiment import DataUse, Student
from mmkd.config.plugin_base import LossConfig, TaskConfig, TeacherConfig
from mmkd.config.problems import KeyPath, Problem, did_you_mean, listed
from mmkd.config.section import Section
from mmkd.config.yaml_tree import Node

AnySection = TypeVar("AnySection", bound=Section)


@dataclass(frozen=True)
class Parts:
    """A section that is wrong by itself is in `root` and in none of the maps; student: None when it is wrong."""

    root: Node
    data: Mapping[str, DataUse]
    tasks: Mapping[str, TaskConfig]
    teachers: Mapping[str, TeacherConfig]
    losses: Mapping[str, LossConfig]
    student: Student | None

    @classmethod
    def of(cls, root: Node, valid: Mapping[KeyPath, Section]) -> Parts:
        """Sort the valid sections, each with the path where it stands in the tree."""

        def each(key: str, kind: type[AnySection]) -> dict[str, AnySection]:
            return {str(path[1]): one for path, one in valid.items() if path[0] == key and isinstance(one, kind)}

        student = valid.get(("student",))
        return cls(
            root,
            each("data", DataUse),
            each("tasks", TaskConfig),
            each("teachers", TeacherConfig),
            each("losses", LossConfig),
            student if isinstance(student, Student) else None,
        )

    def names(self, section: str) -> list[str]:
        """Names of all entries of a section, wrong ones too."""
        found = self.root.child(section)
        return list(found.entries) if found else []

    def lacks(self, section: str, name: str) -> bool:
        """Whether the section has no entry of this name; a section that is no map is a mistake of its own."""
        found = self.root.child(section)
        return found is None or (isinstance(found.value, dict) and name not in found.value)

    def problem(self, path: KeyPath, message: str) -> Problem:
        """A mistake at a key of the experiment, or at the nearest section around it."""
        return Problem(self.root.nearest(path).place, path, message)

    def find(self, path: KeyPath, value: str | int, *hints: str) -> KeyPath:
        """Where in the section at the path this value stands, at best below a key with one of the hints in its name.

        A plug-in says what it needs, not which of its keys says so. The section's own path when no key does.
        """
        found = [inner for inner, leaf in _leaves(self.root.nearest(path)) if _equal(leaf, value)]
        found.sort(key=lambda inner: not any(hint in str(key) for key in inner for hint in hints))
        return (*path, *found[0]) if found else path


def _equal(leaf: object, value: str | int) -> bool:
    return type(leaf) is type(value) and leaf == value


def _leaves(node: Node) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(node.value, dict | list):
        entries = node.value.items() if isinstance(node.value, dict) else enumerate(node.value)
        for key, inner in entries:
            for path, leaf in _leaves(inner):
                yield (key, *path), leaf
    else:
        yield (), node.value


def unknown(parts: Parts, path: KeyPath, word: str, name: str) -> Problem:
    """A name that the section lacks. word: what it should name; with an s, the section's key."""
    known = parts.names(f"{word}s")
    return parts.problem(path, f"unknown {word} `{name}`; expected one of {listed(known)}{did_you_mean(name, known)}")
