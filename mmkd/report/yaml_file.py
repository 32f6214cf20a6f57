"""Reads a table file, YAML 1.2; every mistake is named with its file and line."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from mmkd.report.error import ReportError
from mmkd.report.table_file import KINDS, TableFile


def read_table_file(path: Path) -> TableFile:
    """Read a table file.

    Raises ReportError with one line per mistake: `file:line: key: what was found and what was expected`.
    """
    try:
        tree = YAML(typ="rt").load(path.read_text("utf-8"))
    except MarkedYAMLError as error:
        line = 1 if error.problem_mark is None else error.problem_mark.line + 1
        problem = " ".join((error.problem or "not YAML").split())
        raise ReportError(f"{path}:{line}: {problem}; expected YAML 1.2 with each key once") from error
    except (OSError, UnicodeDecodeError, YAMLError) as error:
        raise ReportError(f"{path}: cannot be read as YAML: {error}") from error
    try:
        return TableFile.model_validate(_plain(tree))
    except ValidationError as error:
        raise ReportError("\n".join(_mistake(path, tree, each) for each in error.errors())) from error


def _mistake(path: Path, tree: Any, error: Any) -> str:
    location = list(error["loc"])
    keys = [key for key in location if key not in KINDS and key != "[key]"]
    where = f"{path}:{_line_of(tree, keys)}: {'.'.join(map(str, keys)) or 'the file'}"
    if error["type"] == "extra_forbidden":
        section = next((KINDS[key] for key in location if key in KINDS), TableFile)
        known = list(section.model_fields)
        near = get_close_matches(str(keys[-1]), known, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        return f"{where}: unknown key, expected one of {', '.join(known)}{hint}"
    found = "" if isinstance(error["input"], dict) else f", found {error['input']!r}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')}{found}"


def _line_of(tree: Any, keys: list[Any]) -> int:
    """The line of the deepest of the nested keys that the file has, from 1."""
    line = 1
    for key in keys:
        if isinstance(tree, CommentedMap) and key in tree:
            line = tree.lc.key(key)[0] + 1
        elif isinstance(tree, CommentedSeq) and isinstance(key, int) and key < len(tree):
            line = tree.lc.item(key)[0] + 1
        else:
            break
        tree = tree[key]
    return line


def _plain(tree: Any) -> Any:
    """The tree without the parser's own types, which strict validation refuses."""
    if isinstance(tree, dict):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_plain(item) for item in tree]
    for kind in (bool, int, float, str):
        if isinstance(tree, kind):
            return kind(tree)
    return tree
