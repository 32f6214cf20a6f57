"""Adds to a table its tests over examples: of each student row and score column, for the seeds that the baseline has.

The predictions must be those that the scores are of: of the table's split, of the same examples with the same labels in
both runs, and such that the metric comes out of them again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from mmkd.record import RunRecord
from mmkd.report.cell import score_of
from mmkd.report.error import ReportError
from mmkd.report.examples.measures import MEASURES, Measure
from mmkd.report.examples.over_seeds import OverExamples, SeedTest, TestName, seed_test
from mmkd.report.examples.predictions import Predictions, first_difference, read_predictions
from mmkd.report.records import StoredRecord
from mmkd.report.table import Column, Row, Table
from mmkd.report.table_file import MEAN_SCORE, ScoreColumn
from mmkd.report.variants import value_of

TOLERANCE = 1e-9
"""Between a recorded score and the one that follows from the predictions: sums in another order differ by rounding."""
Read = Callable[[RunRecord, str, str], Predictions]
"""Record, task, kind of the task -> its predictions."""


class _Untested(Exception):
    """Why a row and column have no test; the message says it."""


@dataclass(frozen=True)
class _Asked:
    """The score of a column, and where it is asked for. kind: of the task."""

    where: str
    split: str
    task: str
    metric: str
    kind: str
    measure: Measure


def with_tests_over_examples(table: Table, stored: Sequence[StoredRecord]) -> Table:
    """The table with these tests, where its file asks for them. stored: the records that it was built from.

    Raises ReportError, with table, row, column and record, for predictions that are not those of the scores.
    """
    if not table.file.examples:
        return table
    students = {row.label: row for row in table.rows if row.is_student}
    baseline = students.pop(table.file.baseline or "")
    for row in (baseline, *students.values()):
        _check_split(row, table)
    read = _reader(stored)
    tests = [
        _tested(table, row, baseline, column, read)
        for row in students.values()
        for column in table.columns
        if column.label in table.file.tested_columns()
        if row.cells[column.label].values and baseline.cells[column.label].values
    ]
    return replace(table, over_examples=tuple(tests))


def _check_split(row: Row, table: Table) -> None:
    for record in row.records:
        if record.predictions is not None and record.predicted_split != table.file.split:
            raise ReportError(
                f"table {table.name}, row {row.label}: the predictions of {record.file_name} are of "
                f"{record.predicted_split}, expected {table.file.split}, which the table shows; leave out `examples`, "
                f"or show {record.predicted_split}"
            )


def _reader(stored: Iterable[StoredRecord]) -> Read:
    """Reads the predictions of each record and task once."""
    paths = {each.record.file_name: each.predictions_path for each in stored if each.record is not None}

    @cache
    def read(path: Path, task: str, kind: str, names: tuple[str, ...]) -> Predictions:
        return read_predictions(path, task, MEASURES[kind][0], names)

    return lambda record, task, kind: read(paths[record.file_name], task, kind, tuple(record.labels.get(task, ())))


def _tested(table: Table, row: Row, baseline: Row, column: Column, read: Read) -> OverExamples:
    bases = {record.seed: record for record in baseline.records}
    pairs = [(record, bases[record.seed]) for record in row.records if record.seed in bases]
    where = f"table {table.name}, row {row.label}, column {column.label}"
    try:
        asked = _asked(column, table.file.split, pairs, where)
        tests = tuple(_test_of(*pair, asked, read) for pair in pairs)
    except _Untested as reason:
        return OverExamples(row.label, column.label, None, (), str(reason))
    name: TestName = "McNemar" if asked.measure.has_mcnemar else "approximate randomisation"
    return OverExamples(row.label, column.label, name, tests)


def _asked(column: Column, split: str, pairs: Sequence[tuple[RunRecord, RunRecord]], where: str) -> _Asked:
    """Raises _Untested for a score that these runs' predictions do not give."""
    shows = column.shows
    assert isinstance(shows, ScoreColumn)
    if shows.score == MEAN_SCORE:
        raise _Untested("a mean over tasks, each of which has examples of its own")
    if shows.without is not None:
        raise _Untested(f"predictions with the {shows.without} hidden are not kept")
    if not pairs:
        raise _Untested("no seed that the baseline has too")
    task, _, metric = shows.score.partition(".")
    kinds = dict.fromkeys(str(value_of(each.experiment, f"tasks.{task}.kind")) for pair in pairs for each in pair)
    for kind in kinds:
        if metric not in MEASURES.get(kind, ("", {}))[1]:
            raise _Untested(f"what an example adds to `{metric}` of a task of kind `{kind}` is not known here")
    kind = next(iter(kinds))
    measure = MEASURES[kind][1][metric]
    if any(MEASURES[other][1][metric] is not measure for other in kinds):
        raise _Untested(f"`{metric}` of tasks of the kinds {' and '.join(kinds)} is not the same metric")
    for record in (record for pair in pairs for record in pair):
        if record.predictions is None:
            raise _Untested(f"`{record.file_name}` has no predictions")
        if measure.needs_names and task not in record.labels:
            raise _Untested(f"label names are not in `{record.file_name}`")
    return _Asked(where, split, task, metric, kind, measure)


def _test_of(record: RunRecord, base: RunRecord, asked: _Asked, read: Read) -> SeedTest:
    found, beside = (_read(each, asked, read) for each in (record, base))
    differs = first_difference(found, beside)
    if differs is not None:
        raise ReportError(
            f"{asked.where}: {record.file_name} and {base.file_name} were not scored on the same labels: found "
            f"{differs}; run both again on the same data, or leave out `examples`"
        )
    counts, base_counts = (_counts(own, each, asked) for own, each in ((record, found), (base, beside)))
    if len(counts) < 2:
        raise _Untested("one example, of at least 2 that a test needs")
    return seed_test(record.seed, counts, base_counts, asked.measure)


def _read(record: RunRecord, asked: _Asked, read: Read) -> Predictions:
    try:
        return read(record, asked.task, asked.kind)
    except ReportError as error:
        raise ReportError(f"{asked.where}: {record.file_name}: {error}") from error


def _counts(record: RunRecord, found: Predictions, asked: _Asked) -> np.ndarray:
    """What each example adds, if the recorded score comes out of it."""
    counts = asked.measure.counts(found)
    score = score_of(record, asked.split, asked.task, asked.metric)
    assert score is not None  # its cell has a value
    value = float(asked.measure.metric(counts.sum(0)))
    if not math.isclose(value, score.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        raise ReportError(
            f"{asked.where}: {record.file_name} records {asked.task}.{asked.metric} {score.value!r}, but {value!r} "
            "follows from its predictions; restore both, or run the experiment again"
        )
    return counts
