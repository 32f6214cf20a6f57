"""The `mmkd run` words of the runs that studies name: which experiment file, with which overrides."""

from __future__ import annotations

from pathlib import Path

from mmkd.config.document import override, read_file
from mmkd.config.section_file import load_section
from mmkd.config.study_file import Study, StudyRun
from mmkd.report.error import ReportError
from mmkd.report.yaml_files import yaml_files


def words_of_run(name: str, run: StudyRun, file: Path, root: Path) -> list[str]:
    """Experiment file, from the project's folder `root`, and overrides, seeds left out. file: of the study.

    Raises ReportError for an experiment outside of the project, ConfigError for a file that cannot be read.
    """
    target = (file.parent / run.experiment).resolve()
    if not target.is_relative_to(root):
        raise ReportError(f"{file}: runs.{name}.experiment: found {run.experiment}, outside of {root}")
    own = read_file(target)[0].child("name")
    named = [] if own is not None and own.value == name else [override("name", name)]
    overrides = [override(key, value) for key, value in run.set.items()]
    return [target.relative_to(root).as_posix(), *named, *overrides]


def words_of_studies(root: Path) -> dict[str, list[str]]:
    """Name of a run -> its words, over all studies of a project; of two studies that name it, the first.

    Raises as `words_of_run` does, and ConfigError for mistakes in a study file.
    """
    folder = root / "experiments" / "studies"
    found: dict[str, list[str]] = {}
    for file in yaml_files(folder, "study") if folder.is_dir() else ():
        for name, run in load_section(file, Study).runs.items():
            found.setdefault(name, words_of_run(name, run, file, root))
    return found
