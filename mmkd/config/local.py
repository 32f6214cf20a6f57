"""Where a model or a weights file that an experiment names lies on this machine. No torch here."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path, PurePosixPath

PACKAGE = "package:"


def local_path(named: str) -> Path | None:
    """The file or folder, None when there is none and the name may be a hub's.

    Looked for in the working folder, then below the data root (`MMKD_DATA`). `package:name/inner/path` is a file of
    an installed Python package, which is not imported.
    """
    if named.startswith(PACKAGE):
        package, _, inner = named.removeprefix(PACKAGE).partition("/")
        if not package.isidentifier() or not is_inside(inner):
            return None  # a dotted name would import the package, and `..` leads out of it
        spec = importlib.util.find_spec(package)
        folders = [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []
        return next((folder / inner for folder in folders if (folder / inner).exists()), None)
    data = os.environ.get("MMKD_DATA")
    for folder in (Path(), *([Path(data)] if data else [])):
        if (folder / named).exists():
            return folder / named
    return None


def is_inside(name: str) -> bool:
    """Whether a name leads to something in the folder that it starts from, as far as the name alone can say."""
    path = PurePosixPath(name.replace("\\", "/"))
    return bool(name) and not path.is_absolute() and ".." not in path.parts and "\0" not in name


def is_local(named: str) -> bool:
    """Whether a name can only be a path of this machine, never a hub's."""
    return named.startswith((".", "/", "~", PACKAGE))
