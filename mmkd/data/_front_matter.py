"""Reads a Markdown file that starts with YAML between two `---` lines."""

from __future__ import annotations

from dataclasses import dataclass

from mmkd.config.problems import ConfigError, Place, Problem
from mmkd.config.yaml_tree import Node, parse

FENCE = "---"


@dataclass(frozen=True)
class FrontMatter:
    """tree: the YAML, with lines of the file. body: the text after it. problems: what else is wrong, as keys twice."""

    tree: Node
    body: str
    problems: list[Problem]


def read(text: str, file: str) -> FrontMatter:
    """Split a file into its front matter and its body.

    Raises ConfigError when a fence is missing or what stands between them is not one YAML mapping.
    """
    rows = text.split("\n")
    end = next((number for number, row in enumerate(rows) if number and row.rstrip() == FENCE), None)
    if rows[0].rstrip() != FENCE or end is None:
        message = "found no front matter; expected YAML between two lines `---` at the top"
        raise ConfigError([Problem(Place(file, 1), (), message)])
    # The line of the first fence stays, empty, so that line numbers are those of the file.
    tree, problems = parse("\n".join(["", *rows[1:end]]), lambda line: Place(file, line))
    if not isinstance(tree.value, dict):
        raise ConfigError([*problems, Problem(Place(file, 2), (), "found no mapping; expected keys and values")])
    return FrontMatter(tree, "\n".join(rows[end + 1 :]).strip() + "\n", problems)
