"""Plug-ins by file name: `kind: logit_kl` under `losses:` is the file `mmkd/losses/logit_kl.py`.

A kind with a dot is any importable module (`my_lab.hinge`); a name of an entry point group `mmkd.losses`,
`mmkd.teachers`, ... of an installed package counts too. Listing kinds imports nothing.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from functools import cache
from importlib.metadata import EntryPoints, entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mmkd.config.section import Section

PACKAGE = Path(__file__).resolve().parent.parent
DEFINES_CONFIG = re.compile(r"^class Config\b", re.MULTILINE)
"""What makes a file of a plug-in folder a kind; other files help the kinds."""


class UnknownKind(LookupError):
    """No plug-in file, entry point or importable module has this name."""


class NotAPlugin(TypeError):
    """The module is there, and defines no class `Config`."""


def kinds(folder: str) -> list[str]:
    """Names of the kinds that a plug-in folder holds, entry points of installed packages included."""
    own = {path.stem for path in (PACKAGE / folder).glob("*.py") if DEFINES_CONFIG.search(path.read_text("utf-8"))}
    return sorted(own | {entry.name for entry in _entries(folder, tuple(sys.path))})


@cache
def _entries(folder: str, path: tuple[str, ...]) -> EntryPoints:
    """Entry points of installed packages. path: where packages are looked for; looking takes time, and is done once."""
    return entry_points(group=f"mmkd.{folder}")


def module_name(folder: str, kind: str) -> str:
    """The importable module that a kind names.

    Raises UnknownKind when there is no such module.
    """
    for entry in _entries(folder, tuple(sys.path)):
        if entry.name == kind:
            return entry.module
    name = kind if "." in kind else f"mmkd.{folder}.{kind}"
    words = kind.split(".")
    if not all(word.isidentifier() for word in words) or (len(words) == 1 and kind not in kinds(folder)):
        raise UnknownKind(name)
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError as error:
        # Only a missing part of the kind's own name means "unknown"; anything else is the plug-in's own bug.
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UnknownKind(name) from error
        raise
    if found is None:
        raise UnknownKind(name)
    return name


def load(folder: str, kind: str) -> ModuleType:
    """Import the plug-in's module. An ImportError inside the plug-in surfaces as itself."""
    return importlib.import_module(module_name(folder, kind))


@cache
def config_class(folder: str, kind: str) -> type[Section]:
    """The plug-in's `Config`, without running the parts of its file that `Config` does not use.

    A plug-in imports torch for its math, `Config` does not: so an experiment is checked without the seconds that
    importing torch costs. Only what `Config` refers to, directly or through other names of the file, is run.

    Raises UnknownKind, and NotAPlugin when the file defines no `Config`.
    """
    name = module_name(folder, kind)
    spec = importlib.util.find_spec(name)
    if name in sys.modules or spec is None or spec.origin is None or not spec.origin.endswith(".py"):
        module = importlib.import_module(name)
    else:
        module = _run_slice(name, Path(spec.origin))
    if "Config" not in vars(module):
        raise NotAPlugin(f"{name}: expected a class named Config, derived from the base of {folder}; found none")
    found: type[Section] = module.Config
    return found


def _run_slice(name: str, path: Path) -> ModuleType:
    tree = ast.parse(path.read_text("utf-8"), str(path))
    wanted, kept = {"Config"}, set()
    # A function uses names that may be defined after it, so one walk does not find all that is needed.
    while found := [each for each in tree.body if each not in kept and (_is_future(each) or wanted & _binds(each))]:
        kept.update(found)
        wanted |= {node.id for each in found for node in ast.walk(each) if isinstance(node, ast.Name)}
    body = [statement for statement in tree.body if statement in kept]
    module = ModuleType(f"{name}:Config")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # pydantic resolves annotations through here
    exec(compile(ast.Module(body, type_ignores=[]), str(path), "exec", dont_inherit=True), vars(module))
    return module


def _is_future(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and statement.module == "__future__"


def _binds(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
