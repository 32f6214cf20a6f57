"""One cell of a table: the unrounded numbers of the records that a row rests on, or the reason why it is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from mmkd.record import RunRecord, Score
from mmkd.report.error import ReportError
from mmkd.report.statistics import Summary, summary
from mmkd.report.table_file import MEAN_SCORE, CeilingRow, RunRow, ScoreColumn, TableFile, ValueColumn


class MissingNumber(Exception):
    """A record lacks a number that a column asks for; the message says which."""


@dataclass(frozen=True)
class Cell:
    """One cell. values: seed -> number in the record's own unit; a ceiling has one value and no seed.

    summary: of the values; None where the cell is missing, for the reason `missing`.
    sources: the records it rests on, by their names in the ledger. best: the column's best among the students.
    """

    values: dict[int | None, float]
    summary: Summary | None
    missing: str | None
    sources: tuple[str, ...]
    best: bool = False


@dataclass(frozen=True)
class Question:
    """What a cell asks of its records. primary: task -> first metric, over all records of the table."""

    row: RunRow | CeilingRow
    shows: ScoreColumn | ValueColumn
    file: TableFile
    primary: dict[str, str]


def rests_on(row: RunRow | CeilingRow, record_name: str) -> bool:
    """Whether a row rests on the record of that name in the ledger: the runs of its network, or any for a ceiling."""
    if isinstance(row, CeilingRow):
        return record_name.startswith(f"{row.experiment}/")
    who = row.role if row.teacher is None else f"{row.role}-{row.teacher}"
    return record_name.rpartition("-seed")[0] == f"{row.experiment}/{who}"


def records_of(row: RunRow | CeilingRow, records: Iterable[RunRecord]) -> list[RunRecord]:
    """The records that a row rests on, sorted by seed."""
    found = [record for record in records if rests_on(row, record.file_name)]
    return sorted(found, key=lambda record: (record.seed, record.file_name))


def score_paths(shows: ScoreColumn, primary: dict[str, str]) -> list[tuple[str, str]]:
    """The scores (task, metric) behind a score column: one, or those of the mean."""
    if shows.score == MEAN_SCORE:
        return list(primary.items())
    task, _, metric = shows.score.partition(".")
    return [(task, metric)]


def score_of(record: RunRecord, split: str, task: str, metric: str) -> Score | None:
    """A score of a record, or None."""
    return record.scores.get(split, {}).get(task, {}).get(metric)


def make_cell(question: Question, records: list[RunRecord]) -> Cell:
    """The cell that follows from a row's records, sorted by seed.

    Raises ReportError where the records contradict one another.
    """
    sources = tuple(record.file_name for record in records)
    row = question.row
    try:
        _check_present(row, records, question.file)
        values: dict[int | None, float]
        if isinstance(row, CeilingRow):
            values = {None: _ceiling(row, question, records)}
        else:
            values = {record.seed: _number(question, record) for record in records}
    except MissingNumber as error:
        return Cell({}, None, str(error), sources)
    return Cell(values, summary(list(values.values())), None, sources)


def _check_present(row: RunRow | CeilingRow, records: list[RunRecord], file: TableFile) -> None:
    command = f"make it with `mmkd run experiments/{row.experiment}.yaml`"
    if not records:
        what = f" of teacher `{row.teacher}`" if isinstance(row, RunRow) and row.teacher else ""
        raise MissingNumber(f"no record{what} of experiment `{row.experiment}`: {command}")
    if isinstance(row, RunRow) and row.role == "student" and file.seeds is not None:
        found = [record.seed for record in records]
        lacking = [seed for seed in file.seeds if seed not in found]
        if lacking:
            listed = ", ".join(map(str, lacking))
            raise MissingNumber(f"no record of seed {listed} of experiment `{row.experiment}`: {command}")


def _number(question: Question, record: RunRecord) -> float:
    shows = question.shows
    if isinstance(shows, ScoreColumn):
        return fmean([_score(record, question.file.split, *path) for path in _paths(shows, question)])
    if shows.value == "parameters":
        return float(record.parameters)
    if shows.value == "trained_parameters":
        if record.trained_parameters is None:
            raise MissingNumber(f"no number of trained parameters in `{record.file_name}`")
        return float(record.trained_parameters)
    if shows.value == "peak_memory":
        return float(record.peak_memory)
    phase = shows.value.removeprefix("seconds.")
    if phase not in record.seconds:
        raise MissingNumber(f"no time of phase `{phase}` in `{record.file_name}`; it has {', '.join(record.seconds)}")
    return record.seconds[phase]


def _paths(shows: ScoreColumn, question: Question) -> list[tuple[str, str]]:
    paths = score_paths(shows, question.primary)
    if not paths:
        raise MissingNumber("no record names a first metric")
    return paths


def _score(record: RunRecord, split: str, task: str, metric: str) -> float:
    score = score_of(record, split, task, metric)
    if score is None:
        raise MissingNumber(f"no score `{task}.{metric}` on {split} in `{record.file_name}`")
    return score.value


def _ceiling(row: CeilingRow, question: Question, records: list[RunRecord]) -> float:
    """The best reachable score; records that know it must agree, since it is a property of the data."""
    shows = question.shows
    if isinstance(shows, ValueColumn):
        raise MissingNumber("a ceiling is no network")
    if question.file.split != "test":
        raise MissingNumber("ceilings are known for the test split only")
    return fmean([_agreed_ceiling(row, records, *path) for path in _paths(shows, question)])


def _agreed_ceiling(row: CeilingRow, records: list[RunRecord], task: str, metric: str) -> float:
    known = [(record.ceilings.get(task, {}).get(metric, {}), record.file_name) for record in records]
    found = {ceilings[row.ceiling]: name for ceilings, name in known if row.ceiling in ceilings}
    if not found:
        raise MissingNumber(f"no ceiling of `{task}.{metric}` from {row.ceiling} in the records of `{row.experiment}`")
    if len(found) > 1:
        listed = ", ".join(f"{value} in {name}" for value, name in found.items())
        raise ReportError(f"records disagree on the ceiling of {task}.{metric}: {listed}; run them on the same data")
    return next(iter(found))
