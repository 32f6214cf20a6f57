"""The files of a folder that say what is made there: `<name>.yaml` of tables, and of figures."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from mmkd.report.error import ReportError


def yaml_files(folder: Path, what: str, names: Collection[str] | None = None) -> list[Path]:
    """Those of a folder, sorted. what: `table`, or `figure`. names: of those wanted; None: all.

    Raises ReportError where the folder is absent, or a name could not be that of a file anywhere.
    """
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; expected one of {what} files, <name>.yaml")
    paths = sorted(path for path in folder.glob("*.yaml") if names is None or path.stem in names)
    for path in paths:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", path.stem):
            raise ReportError(
                f"{path}: a {what}'s name is found as {path.stem!r}; expected letters, digits, _ and - only"
            )
    return paths
