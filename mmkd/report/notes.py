"""What stands under a table: what each number is, what is missing and why, the tests, and what all of it rests on."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from mmkd.record import RunRecord
from mmkd.report.beside_t import MEANING, in_words
from mmkd.report.cell_text import number_text, p_text, unit
from mmkd.report.comparisons import Comparison
from mmkd.report.consistency import data_in_words, selection_in_words
from mmkd.report.examples.words import lines_below
from mmkd.report.legend import marks_in_words
from mmkd.report.statistics import PairedTest
from mmkd.report.table import Column, Table
from mmkd.report.table_file import MEAN_SCORE, QuotedRow, RunRow, ValueColumn

PACKAGES = ("torch", "transformers")


def notes(table: Table) -> list[tuple[str, list[str]]]:
    """The notes, as (heading, lines); names of the machine are in backticks. A heading without lines is left out."""
    sections = [
        ("Missing", _missing(table)),
        ("Columns", [_column(column) for column in table.columns]),
        ("Reading", _reading(table)),
        ("Quoted", [f"{row.label}: {row.shows.source}" for row in table.rows if isinstance(row.shows, QuotedRow)]),
        ("Paired tests", _tests(table)),
        ("Tests over examples", lines_below(table)),
        ("Origin", _origin(table)),
    ]
    return [(heading, lines) for heading, lines in sections if lines]


def _missing(table: Table) -> list[str]:
    lines = []
    for row in table.rows:
        reasons: dict[str, list[str]] = {}
        for column, cell in row.cells.items():
            if cell.missing is not None:
                reasons.setdefault(cell.missing, []).append(column)
        for reason, columns in reasons.items():
            where = "every column" if len(columns) == len(row.cells) else ", ".join(columns)
            lines.append(f"{row.label}, {where}: {reason}")
    return lines


def _column(column: Column) -> str:
    shows = column.shows
    if isinstance(shows, ValueColumn):
        shown_in = f", in {unit(column)}" if unit(column) else ""
        phase = shows.value.removeprefix("seconds.")
        of_phase = "all phases" if phase == "seconds" else f"the phase {phase}"
        meaning = {
            "parameters": "trained weights of the network that is kept",
            "trained_parameters": "weights that learned, low-rank products among them",
            "flops": "operations of a forward pass per example, a multiply-add counted as two",
            "peak_memory": "largest resident memory",
        }.get(shows.value, f"wall time of {of_phase}")
        return f"{column.label}: `{shows.value}`, {meaning}{shown_in}"
    better = {"maximize": "higher is better", "minimize": "lower is better", None: "no row has it"}[column.direction]
    shown_in = "in %" if unit(column) == "%" else "as recorded"
    meaning = ", mean over tasks of each task's first metric" if shows.score == MEAN_SCORE else ""
    hidden = f", with the {shows.without} of every row hidden" if shows.without else ""
    return f"{column.label}: `{shows.score}`{meaning}{hidden}, {shown_in}, {better}"


def _reading(table: Table) -> list[str]:
    lines = [
        f"split: {table.file.split}; scores are mean ± sample standard deviation (ddof 1) over n runs with different "
        "seeds; one run shows no ±; 95% t-intervals of the means are in the CSV file"
    ]
    lines += marks_in_words(table)
    lines += _by_rows(table, "selection: the epoch was chosen on", selection_in_words)
    if table.file.split == "test":
        lines += _by_rows(table, "times that a run opened the test split:", lambda record: str(record.test_openings))
        lines += _opened_again(table)
    return lines


def _opened_again(table: Table) -> list[str]:
    """A line for each row whose runs opened the test split more than once per seed: they may have been chosen by it."""
    lines = []
    for row in table.rows:
        runs = row.records if isinstance(row.shows, RunRow) else ()
        often = [f"seed {record.seed}: {record.test_openings} times" for record in runs if record.test_openings > 1]
        if often:
            lines.append(
                f"{row.label}: the test split was opened more than once per seed ({', '.join(often)}); whoever ran it "
                "again had seen its test scores"
            )
    return lines


def _tests(table: Table) -> list[str]:
    if table.file.baseline is None:
        return []
    tested = sum(each.p_holm is not None for each in table.comparisons)
    lines = [
        f"paired two-sided t-test over seeds, row minus `{table.file.baseline}`; Holm-corrected over the table's tests "
        f"({tested})"
    ]
    if table.file.tested is not None:
        lines.append(f"tested, as the table's file says: {', '.join(table.file.tested_columns())}; no other column is")
    if tested:
        lines.append(MEANING)
    columns = {column.label: column for column in table.columns}
    short: dict[tuple[str, int], list[str]] = {}
    for each in table.comparisons:
        if each.test is None:
            short.setdefault((each.row, each.pairs), []).append(each.column)
        else:
            beside = in_words(each, columns[each.column])
            lines += [_test(each, each.test, columns[each.column]), *([] if beside is None else [beside])]
    for (row, pairs), labels in short.items():
        lines.append(
            f"{row}, {', '.join(labels)}: n = {pairs} pairs of equal seed, which is too few to say anything about the "
            "difference; 2 are needed for a test, more for a useful one"
        )
    return lines


def _test(comparison: Comparison, test: PairedTest, column: Column) -> str:
    found = f"{comparison.row}, {comparison.column}: {number_text(test.difference, column, sign=True)}"
    if test.low is None or test.high is None or test.p is None or comparison.p_holm is None:
        return f"{found} in each of n = {test.n} pairs; equal differences have no spread to test against, so no p"
    low, high = (number_text(bound, column, sign=True) for bound in (test.low, test.high))
    p_values = f"p {p_text(test.p)}, Holm p {p_text(comparison.p_holm)}"
    return f"{found} (95% interval {low} to {high}), {p_values}, n = {test.n} pairs"


def _origin(table: Table) -> list[str]:
    lines = _by_rows(table, "data:", data_in_words)
    lines += _by_rows(table, "code:", _code)
    lines += _by_rows(table, "packages:", _packages)
    if any(isinstance(column.shows, ValueColumn) and column.shows.is_measured for column in table.columns):
        lines += _by_rows(table, "measured on", _machine)
    outcomes = "\n".join(record.outcome for record in table.records)
    count = len(table.records)
    lines.append(f"records: {count}; sha256 of what came out: {hashlib.sha256(outcomes.encode()).hexdigest()[:16]}")
    return lines


def _by_rows(table: Table, start: str, words: Callable[[RunRecord], str]) -> list[str]:
    """One line where all runs agree; else one line for each wording, with the rows that it holds for."""
    rows_of: dict[str, list[str]] = {}
    for row in table.rows:
        runs = row.records if isinstance(row.shows, RunRow) else ()
        for wording in dict.fromkeys(map(words, runs)):
            rows_of.setdefault(wording, []).append(row.label)
    if len(rows_of) <= 1:
        return [f"{start} {wording}" for wording in rows_of]
    return [f"{start} {wording}: {', '.join(rows)}" for wording, rows in rows_of.items()]


def _code(record: RunRecord) -> str:
    """The version alone, so that a table made again is the same; commits are in the records."""
    if record.code.commit is None:
        return f"{record.code.version}, of no commit"
    return record.code.version + ("" if record.code.diff is None else " with uncommitted changes")


def _packages(record: RunRecord) -> str:
    return ", ".join(f"{name} {record.packages.get(name, 'unknown')}" for name in PACKAGES)


def _machine(record: RunRecord) -> str:
    return f"{record.machine.device}, {record.machine.cpu}, {record.machine.threads} thread(s)"
