"""One cell of a table: the unrounded numbers of the records that a row rests on, or the reason why it is missing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import fsum
from statistics import fmean
from typing import TypeGuard

from mmkd.record import RunRecord, Score
from mmkd.report.error import ReportError
from mmkd.report.statistics import Summary, summary
from mmkd.report.table_file import MEAN_SCORE, CeilingRow, QuotedRow, RunRow, ScoreColumn, TableFile, ValueColumn
from mmkd.report.variants import rests_on, value_text


class MissingNumber(Exception):
    """A record lacks a number that a column asks for; the message says which."""


@dataclass(frozen=True)
class Cell:
    """One cell. values: seed -> number in the record's own unit; a ceiling has one value and no seed.

    summary: of the values; None where the cell is missing, for the reason `missing`.
    sources: the records it rests on, by their names in the ledger. fill: the command that makes the runs it lacks.
    best, second: the column's best and second best among the students. significant: differs from the baseline, by the
    corrected p of its paired test. delta: mean difference to the baseline, over the seeds that both have.
    """

    values: dict[int | None, float]
    summary: Summary | None
    missing: str | None
    sources: tuple[str, ...]
    fill: str | None = None
    best: bool = False
    second: bool = False
    significant: bool = False
    delta: float | None = None


@dataclass(frozen=True)
class Question:
    """What a cell asks of its records.

    primary: task -> first metric, over all records of the table. lacking: the seeds that the table wants and that have
    no record. fill: the command that makes the runs that the row lacks.
    """

    row: RunRow | CeilingRow
    shows: ScoreColumn | ValueColumn
    file: TableFile
    primary: dict[str, str]
    lacking: tuple[int, ...]
    fill: str


def records_of(row: RunRow | CeilingRow, records: Iterable[RunRecord]) -> list[RunRecord]:
    """The records that a row rests on, sorted by seed."""
    found = [record for record in records if rests_on(row, record)]
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
    absent = _absent(question, records)
    if absent is not None:
        return Cell({}, None, absent, sources, question.fill)
    try:
        values: dict[int | None, float]
        if isinstance(row, CeilingRow):
            values = {None: _ceiling(row, question, records)}
        else:
            values = {record.seed: _number(question, record) for record in records}
    except MissingNumber as error:
        return Cell({}, None, str(error), sources)
    return Cell(values, summary(list(values.values())), None, sources)


def quoted_cell(row: QuotedRow, column: str, shows: ScoreColumn | ValueColumn) -> Cell:
    """A published number, in the unit that records have."""
    if column not in row.quoted or not isinstance(shows, ScoreColumn):
        return Cell({}, None, "not quoted", ())
    value = row.quoted[column] / 100 if shows.unit == "%" else row.quoted[column]
    return Cell({None: value}, summary([value]), None, ())


def _absent(question: Question, records: list[RunRecord]) -> str | None:
    """Which runs the row lacks, and the command that makes them; None where it lacks none."""
    row = question.row
    where = "".join(f", `{key}` {value_text(value)}" for key, value in row.where.items()) if _runs(row) else ""
    command = f"of experiment `{row.experiment}`{where}: make it with `{question.fill}`"
    if not records:
        what = f" of teacher `{row.teacher}`" if _runs(row) and row.teacher else ""
        return f"no record{what} {command}"
    if question.lacking:
        return f"no record of seed {', '.join(map(str, question.lacking))} {command}"
    return None


def _runs(row: RunRow | CeilingRow) -> TypeGuard[RunRow]:
    return isinstance(row, RunRow)


def _number(question: Question, record: RunRecord) -> float:
    shows = question.shows
    if isinstance(shows, ScoreColumn):
        return fmean([_score(record, shows.of(question.file.split), *path) for path in _paths(shows, question)])
    if shows.value == "parameters":
        return float(record.parameters)
    if shows.value == "trained_parameters":
        if record.trained_parameters is None:
            raise MissingNumber(f"no number of trained parameters in `{record.file_name}`")
        return float(record.trained_parameters)
    if shows.value == "flops":
        if record.flops is None:
            raise MissingNumber(f"no number of operations in `{record.file_name}`")
        return record.flops
    if shows.value == "peak_memory":
        return float(record.peak_memory)
    if shows.value == "seconds":
        return fsum(record.seconds.values())
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
    if shows.of(question.file.split) != "test":
        raise MissingNumber("ceilings are known for the whole test split only")
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
