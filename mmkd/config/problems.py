"""What is wrong with an experiment file, and where."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from mmkd.errors import MmkdError

KeyPath = tuple[str | int, ...]
"""The keys that lead to a value, `("losses", "bert_ner", "task")`, with positions for the items of lists."""


@dataclass(frozen=True, order=True)
class Place:
    """Where something is written: a file and a line from 1, or, with line 0, something that has no lines."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake. The message says what was found, what was expected and, where it can, what to do."""

    place: Place
    path: KeyPath
    message: str

    @property
    def file(self) -> str:
        """The file that holds the mistake, or the override of the command line."""
        return self.place.file

    @property
    def line(self) -> int | None:
        """The line from 1; None for an override of the command line."""
        return self.place.line or None

    def __str__(self) -> str:
        """`file:line: path: message`."""
        return ": ".join(filter(None, (str(self.place), dotted(self.path), self.message)))


class ConfigError(MmkdError):
    """Every mistake of an experiment file, its base and its overrides, sorted by file and line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        """A problem that is given twice counts once."""
        self.problems = sorted(
            set(problems), key=lambda problem: (problem.place, dotted(problem.path), problem.message)
        )
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: KeyPath) -> str:
    """The path as the command line writes it: `losses.bert_ner.task`."""
    return ".".join(map(str, path))


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` when one of the known names is near, else nothing."""
    near = get_close_matches(name, sorted(known), n=1)
    return f"; did you mean `{near[0]}`?" if near else ""


def listed(names: Sequence[str]) -> str:
    """Names for a message, in their order; `none` when there are none."""
    return ", ".join(names) if names else "none"


def shown(value: object) -> str:
    """A value and its type in the words of YAML, cut when it is long."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return f"a map ({', '.join(map(str, list(value)[:5]))})" if value else "an empty map"
    if isinstance(value, list):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, str):
        return f'"{value[:60]}{"..." if len(value) > 60 else ""}" (text)'
    return str(value)
