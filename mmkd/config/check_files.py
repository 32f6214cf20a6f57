"""Files on this machine that an experiment names: models, weights, earlier runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmkd.config.encoders import Images, TextEncoder
from mmkd.config.local import is_local, local_path
from mmkd.config.parts import Parts
from mmkd.config.problems import KeyPath, Problem


def check_files(parts: Parts, folder: Path) -> list[Problem]:
    """Models and weights on this machine that sections name and that are not there. folder: of the experiment."""
    encoders: dict[KeyPath, object] = {("teachers", name): teacher for name, teacher in parts.teachers.items()}
    if parts.student is not None:
        encoders |= {("student", "text"): parts.student.text, ("student", "image"): parts.student.image}
    problems: list[Problem] = []
    if parts.student is not None and parts.student.start is not None:
        problems += _missing(parts, ("student", "start", "run"), parts.student.start.run, folder, True)
    for name, teacher in parts.teachers.items():
        for key, named in teacher.files().items():
            problems += _missing(parts, ("teachers", name, key), named, folder, True)
    for path, encoder in encoders.items():
        if isinstance(encoder, TextEncoder) and encoder.model is not None:
            problems += _missing(parts, (*path, "model"), encoder.model, folder, is_local(encoder.model))
        if isinstance(encoder, Images) and encoder.weights is not None:
            problems += _missing(parts, (*path, "weights"), encoder.weights, folder, True)
    return problems


def _missing(parts: Parts, path: KeyPath, named: str, folder: Path, is_path: bool) -> Iterator[Problem]:
    """Models are not looked for beside the experiment, so what is there under that name is a likely mistake."""
    beside = folder / named
    if local_path(named) is not None or not (is_path or beside.exists()):
        return
    hint = f"; did you mean `{beside}`?" if beside.exists() else ""
    yield parts.problem(path, f"there is no `{named}`; expected a path from the working folder or MMKD_DATA{hint}")
