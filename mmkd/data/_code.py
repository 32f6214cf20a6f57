"""The files whose code a plug-in runs, so that what it made is known to be stale when one of them changes."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path


def code_files(file: Path, module: str) -> list[Path]:
    """The file of a module and, through all imports, the files of the same folder that it imports; sorted.

    Only imports at the top of a file count: those under `if TYPE_CHECKING:` run no code.
    """
    package, _, _ = module.rpartition(".")
    found: set[Path] = set()
    waiting = [file]
    while waiting:
        path = waiting.pop()
        if path not in found and path.is_file():
            found.add(path)
            waiting += [file.parent / f"{name}.py" for name in _siblings(path.read_bytes(), package)]
    return sorted(found)


@cache
def _siblings(code: bytes, package: str) -> frozenset[str]:
    """Names that a file's code imports from its own package; some are names inside the package and no file."""
    names: set[str] = set()
    inside = f"{package}."
    for statement in ast.parse(code).body:
        if isinstance(statement, ast.Import):
            names |= {alias.name.removeprefix(inside) for alias in statement.names if alias.name.startswith(inside)}
        elif isinstance(statement, ast.ImportFrom):
            relative = statement.level == 1
            source = f"{package}.{statement.module or ''}".rstrip(".") if relative else statement.module or ""
            if source == package:
                names |= {alias.name for alias in statement.names}
            elif source.startswith(inside):
                names.add(source.removeprefix(inside))
    return frozenset(names)
