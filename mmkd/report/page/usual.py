"""What a page shows of experiments when no table and no figure file is named: their scores, gains and curves."""

from __future__ import annotations

from collections.abc import Sequence

from mmkd.record import RunRecord
from mmkd.report.figures import curves, gain
from mmkd.report.figures.base import Data, FigureFile
from mmkd.report.page.groups import record_of
from mmkd.report.records import StoredRecord
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import MEAN_SCORE, RunRow, ScoreColumn, Split, TableFile

Scores = dict[str, str]
"""Label -> `task.metric`, or `mean_score`."""


def usual_tables(stored: Sequence[StoredRecord], names: Sequence[str]) -> list[Table]:
    """Each task's first metric and their mean, against the first experiment; then all scores, where there are more.

    names: of the experiments, a row for the student of each, and for each of its teachers that has a record.
    Raises ReportError for records that do not fit together.
    """
    records = [record_of(each) for each in stored]
    used = [record for record in records if record.name in names]
    split, rows, first = _split(used), _rows(used, names), _first_scores(used)
    students = [label for label, row in rows.items() if row.role == "student"]
    baseline = students[0] if len(students) > 1 else None
    tables = [_table(f"scores on {split}", split, rows, first, baseline, records)]
    metrics = {f"{task} {metric}": f"{task}.{metric}" for record in used for task, metric in _all(record, split)}
    if not set(metrics.values()) <= set(first.values()):
        tables.append(_table(f"all scores on {split}", split, rows, metrics, None, records))
    return tables


def usual_figures(stored: Sequence[StoredRecord], names: Sequence[str]) -> list[tuple[FigureFile, Data]]:
    """What the students gain over the first experiment's, and how they learn; each where the records have it.

    Raises ReportError for records that do not fit together.
    """
    used = [record_of(each) for each in stored if record_of(each).name in names]
    rows = {label: row for label, row in _rows(used, names).items() if row.role == "student"}
    found: list[tuple[FigureFile, Data]] = []
    scores, split = _first_scores(used), _split(used)
    if len(rows) > 1:
        baseline = next(iter(rows))
        file = gain.File(
            kind="gain", title=f"gain over {baseline}", rows=rows, baseline=baseline, scores=scores, split=split
        )
        gains = gain.data(file, stored, "gain")
        found += [(file, gains)] if gains.gains else []
    if rows:
        paths = {
            label: path if path == MEAN_SCORE else f"validation.{path}" for label, path in reversed(scores.items())
        }
        shown = curves.File(kind="curves", title="validation scores while the students learn", rows=rows, curves=paths)
        lines = curves.data(shown, stored, "curves")
        found += [(shown, lines)] if lines.lines else []
    return found


def _table(
    title: str, split: Split, rows: dict[str, RunRow], scores: Scores, baseline: str | None, records: list[RunRecord]
) -> Table:
    columns = {label: ScoreColumn(score=score) for label, score in scores.items()}
    file = TableFile(title=title, split=split, rows=dict(rows), columns=dict(columns), baseline=baseline)
    return build_table(records, file, title.replace(" ", "_"))


def _rows(used: Sequence[RunRecord], names: Sequence[str]) -> dict[str, RunRow]:
    rows = {}
    for name in names:
        networks = dict.fromkeys(record.teacher for record in used if record.name == name)
        for teacher in sorted(networks, key=lambda each: each is not None):
            label = name if teacher is None else f"{name}, teacher {teacher}"
            rows[label] = RunRow(experiment=name, role="student" if teacher is None else "teacher", teacher=teacher)
    return rows


def _split(used: Sequence[RunRecord]) -> Split:
    return "test" if all("test" in record.scores for record in used) else "validation"


def _first_scores(used: Sequence[RunRecord]) -> Scores:
    """Each task's first metric; the mean too, where all records agree on them and there are several."""
    pairs = dict.fromkeys(pair for record in used for pair in record.primary.items())
    tasks = [task for task, _ in pairs]
    if len(set(tasks)) < len(tasks):
        return {f"{task} {metric}": f"{task}.{metric}" for task, metric in pairs}
    mean = {"mean": MEAN_SCORE} if len(tasks) > 1 and "mean" not in tasks else {}
    return {task: f"{task}.{metric}" for task, metric in pairs} | mean


def _all(record: RunRecord, split: str) -> list[tuple[str, str]]:
    return [(task, metric) for task, metrics in record.scores.get(split, {}).items() for metric in metrics]
