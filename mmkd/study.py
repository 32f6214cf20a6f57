"""A study: the runs that one question needs and that have no record yet, then its tables, figures and page."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmkd.config.experiment import Experiment
from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.config.section_file import load_section
from mmkd.config.study_file import Study
from mmkd.data.cards import read_cards
from mmkd.errors import CheckFailed, MmkdError
from mmkd.interrupt import Interrupted
from mmkd.places import Places
from mmkd.record import RunRecord, experiment_hash
from mmkd.report.error import ReportError
from mmkd.report.figures.write import write_figures
from mmkd.report.fill import run_command
from mmkd.report.keep import keep
from mmkd.report.page.write import write_report
from mmkd.report.records import load_records
from mmkd.report.studies import words_of_run
from mmkd.report.tables import write_tables

EXAMPLES = 2
"""Rows a task on which two networks differ, for each of the many pairs of a study."""


class StudyError(MmkdError):
    """A study cannot begin; the message has a line for each reason."""


@dataclass(frozen=True)
class Planned:
    """One run of a study. words: the experiment file and the overrides, as `mmkd run` takes them, seeds left out.

    lacking: the seeds that have no record.
    """

    name: str
    experiment: Experiment
    words: tuple[str, ...]
    lacking: tuple[int, ...]

    @property
    def command(self) -> str:
        """The `mmkd run` that makes what is lacking."""
        return shlex.join(["mmkd", "run", *self.words, f"seeds=[{','.join(map(str, self.lacking))}]"])


def plan_study(study: Study, file: Path, places: Places, records_folder: Path) -> list[Planned]:
    """The runs of a study, in its order, with what each lacks in a folder of records.

    A run is there when a record has its name, its seed, and all that its experiment says.
    Raises StudyError with every mistake in what the study names, RecordError for records that are not trusted.
    """
    records = load_records(records_folder) if records_folder.is_dir() else []
    planned, problems = [], []
    for name, run in study.runs.items():
        try:
            words = words_of_run(name, run, file, places.root)
            experiment = load(places.root / words[0], [*words[1:], f"seeds={list(study.seeds)}"], read_cards)
        except (ConfigError, ReportError) as error:
            problems += [f"{file}: runs.{name}: {line}" for line in str(error).splitlines()]
            continue
        planned.append(Planned(name, experiment, tuple(words), _lacking(experiment, study.seeds, records)))
    for what, names, folder in (("tables", study.tables, places.tables), ("figures", study.figures, places.figures)):
        problems += [
            f"{file}: {what}: found {name}; expected a file {folder.relative_to(places.root)}/{name}.yaml"
            for name in names
            if not (folder / f"{name}.yaml").is_file()
        ]
    if problems:
        raise StudyError("\n".join(problems))
    return planned


def _lacking(experiment: Experiment, seeds: Iterable[int], records: Iterable[RunRecord]) -> tuple[int, ...]:
    own = experiment_hash(experiment)
    there = {each.seed for each in records if each.role == "student" and each.experiment_hash == own}
    return tuple(seed for seed in seeds if seed not in there)


def run_study(
    study: Study, file: Path, places: Places, say: Callable[[str], None], jobs: int = 1, scratch: bool = False
) -> list[Path]:
    """Run what is lacking, keep it, and write the study's tables, figures and page; return their paths.

    A run that breaks off is named, and the others go on; what it lacks is shown as missing.
    jobs: seeds of a run that run at the same time. scratch: leave the ledger as it is, and write below results/runs.
    Raises StudyError before anything runs, CheckFailed at the end when a run broke off, Interrupted when asked to stop.
    """
    records = places.runs if scratch else places.records
    planned = plan_study(study, file, places, records)
    open_runs = [each for each in planned if each.lacking]
    if open_runs and not scratch:
        _require_commit(places.root)
    broken = []
    for number, each in enumerate(open_runs, start=1):
        say(f"{number} of {len(open_runs)}: {each.command}")
        code = run_command(f"{each.command} --jobs {jobs}", places.root)
        if code == Interrupted.exit_code:
            raise Interrupted(f"stopped in run {each.name}; the same command goes on there")
        if code:
            broken.append(f"run {each.name} broke off with exit code {code}: {each.command}")
        elif not scratch:
            _keep(each, study.seeds, places)
    written = _write(study, file, places, records, scratch) if records.is_dir() else []
    if broken:
        raise CheckFailed("\n".join([*broken, "what these lack is shown as missing"]))
    return written


def _require_commit(root: Path) -> None:
    from mmkd.environment import code_state

    code = code_state(root)
    if code.commit is None or code.diff is not None:
        found = "is in no repository" if code.commit is None else "has changes that are not committed"
        raise StudyError(f"{root} {found}; the ledger holds records of commits alone: commit, or give --runs")


def _keep(planned: Planned, seeds: Sequence[int], places: Places) -> None:
    """Copy a run's records into the ledger, in place of those of another experiment of its name."""
    folder = places.run(planned.name, experiment_hash(planned.experiment))
    keep(folder, places.records, [planned.name], replace=True, seeds=seeds)


def _write(study: Study, file: Path, places: Places, records: Path, scratch: bool) -> list[Path]:
    tables, figures = (places.runs / "tables", places.runs / "figures") if scratch else (places.tables, places.figures)
    written = write_tables(places.tables, records, tables, study.tables) if study.tables else []
    written += write_figures(places.figures, records, figures, study.figures) if study.figures else []
    names = {record.name for record in load_records(records)}
    if not names.intersection(study.runs):
        return written
    page = write_report(
        places,
        [name for name in study.runs if name in names],
        [places.tables / f"{name}.yaml" for name in study.tables],
        [places.figures / f"{name}.yaml" for name in study.figures],
        records,
        places.runs / "reports" / f"{file.stem}.html",
        study.title,
        study.question,
        EXAMPLES,
        shlex.join(["mmkd", "study", file.as_posix(), *(["--runs"] if scratch else [])]),
    )
    return [*written, page]


def load_study(file: Path) -> Study:
    """Read a study file.

    Raises ConfigError with every mistake.
    """
    return load_section(file, Study)
