"""What must agree before records may stand in one row, or rows under one column."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from mmkd.record import Direction, RunRecord, decisive
from mmkd.report.cell import score_of, score_paths
from mmkd.report.error import ReportError
from mmkd.report.table_file import MEAN_SCORE, ScoreColumn, TableFile, ValueColumn
from mmkd.report.variants import VariantRecord, keys_of, rests_on, value_of, value_text


def check_experiments(used: list[RunRecord], file: TableFile, name: str) -> None:
    """Refuse two records of one run, and one experiment name for two experiments that are no variants of it.

    Raises ReportError.
    """
    by_name: dict[str, RunRecord] = {}
    first: dict[str, RunRecord] = {}
    for record in used:
        where = f"table {name}, row {_rows_on(record, file)}, every column"
        if record.file_name in by_name:
            raise ReportError(f"{where}: found two records {record.file_name}, expected one; remove one of them")
        by_name[record.file_name] = record
        if isinstance(record, VariantRecord):
            continue
        other = first.setdefault(record.name, record)
        if other.experiment_hash != record.experiment_hash:
            raise ReportError(
                f"{where}: records of different experiments that are both named {record.name}: "
                f"{other.file_name} ({other.experiment_hash[:12]}) and {record.file_name} "
                f"({record.experiment_hash[:12]}); run both again from one experiment file, or rename one"
            )


def check_row(records: list[RunRecord], where: str) -> None:
    """Refuse variants, data sets or selection rules that differ among the runs of one network, and a run found twice.

    Raises ReportError.
    """
    for record, following in pairwise(records):
        if record.seed == following.seed and record.experiment_hash == following.experiment_hash:
            raise ReportError(
                f"{where}: found two records of seed {record.seed}, {record.file_name} and {following.file_name}; "
                "expected one; remove one of them"
            )
    for record in records[1:]:
        first = records[0]
        if record.experiment_hash != first.experiment_hash:
            raise ReportError(
                f"{where}: several experiments fit: {first.file_name} and {record.file_name} differ in "
                f"{differing(first.experiment, record.experiment)}; expected one; the row's `where` says which"
            )
        if record.data != first.data:
            raise ReportError(
                f"{where}: mixed data: {first.file_name} ran on {data_in_words(first)}, {record.file_name} on "
                f"{data_in_words(record)}; expected equal fingerprints; run both again on the same data"
            )
        if selection_in_words(record) != selection_in_words(first):
            raise ReportError(
                f"{where}: mixed selection: {first.file_name} was selected on {selection_in_words(first)}, "
                f"{record.file_name} on {selection_in_words(record)}; expected one rule; run both again with one"
            )


def differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    """The keys in which two resolved experiments differ, with both values; only the innermost ones."""
    found = [
        f"`{key}` ({value_text(here)} and {value_text(there)})"
        for key, (here, there) in differing_keys(one, other).items()
    ]
    return ", ".join(found) or "nothing that their records tell"


def differing_keys(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Each key in which two resolved experiments differ -> both values; of maps that both have, the keys in them."""
    keys = dict.fromkeys((*keys_of(decisive(one)), *keys_of(decisive(other))))
    pairs = {key: (value_of(one, key), value_of(other, key)) for key in keys}
    return {
        key: (here, there)
        for key, (here, there) in pairs.items()
        if here != there and not (isinstance(here, dict) and isinstance(there, dict))
    }


def selection_in_words(record: RunRecord) -> str:
    """How a run's epoch was chosen."""
    selection = record.selection
    return f"{selection.split} by `{selection.metric}` ({selection.direction})"


def data_in_words(record: RunRecord) -> str:
    """The data sets of a run, each with the start of its fingerprint."""
    return ", ".join(f"{name} {fingerprint[:12]}" for name, fingerprint in sorted(record.data.items()))


def common_primary(records: Iterable[RunRecord], file: TableFile, name: str) -> dict[str, str]:
    """Task -> first metric over all records of a table, so that every mean is over the same scores.

    Raises ReportError where a mean is shown, and records disagree on a task's first metric.
    """
    means = [label for label, c in file.columns.items() if isinstance(c, ScoreColumn) and c.score == MEAN_SCORE]
    primary: dict[str, tuple[str, str]] = {}
    for record in records:
        for task, metric in record.primary.items():
            other, source = primary.setdefault(task, (metric, record.file_name))
            if means and other != metric:
                raise ReportError(
                    f"table {name}, row {_rows_on(record, file)}, column {means[0]}: the first metric of {task} is "
                    f"{other} in {source} and {metric} in {record.file_name}; a mean over unlike scores says nothing; "
                    "run both with one metric, or leave the column out"
                )
    return {task: primary[task][0] for task in sorted(primary)}


def common_direction(
    shows: ScoreColumn | ValueColumn, records: Iterable[RunRecord], primary: dict[str, str], split: str, where: str
) -> Direction | None:
    """The direction of a column's score; None for a value, and for a score that no record has.

    Raises ReportError for mixed directions.
    """
    if isinstance(shows, ValueColumn):
        return None
    found: dict[Direction, str] = {}
    for record in records:
        for task, metric in score_paths(shows, primary):
            score = score_of(record, shows.of(split), task, metric)
            if score is not None:
                found.setdefault(score.direction, f"{task}.{metric} of {record.file_name}")
    if len(found) > 1:
        listed = " and ".join(f"{direction} ({source})" for direction, source in found.items())
        raise ReportError(f"{where}: mixed directions: {listed}; expected one; leave the column out, or run again")
    return next(iter(found), None)


def _rows_on(record: RunRecord, file: TableFile) -> str:
    return ", ".join(label for label, row in file.rows.items() if rests_on(row, record))
