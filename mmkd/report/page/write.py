"""Writes the page of some experiments: finds their records, makes tables and figures, puts the file in its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mmkd.config.section_file import load_section
from mmkd.disk import rename, told_of_disk, write
from mmkd.places import Places
from mmkd.report.error import ReportError
from mmkd.report.figures.base import Data, FigureFile
from mmkd.report.figures.kinds import load_figure
from mmkd.report.figures.write import figure_of
from mmkd.report.page.groups import grouped, record_of
from mmkd.report.page.page import report_page
from mmkd.report.page.pairs import pairs_of
from mmkd.report.page.usual import usual_figures, usual_tables
from mmkd.report.records import StoredRecord, trusted_records, untracked_code
from mmkd.report.table import Table
from mmkd.report.table_file import TableFile
from mmkd.report.tables import table_from
from mmkd.report.variants import VariantRecord

EXAMPLES = 6


def write_report(
    places: Places,
    names: Sequence[str],
    tables: Sequence[Path],
    figures: Sequence[Path],
    records_folder: Path,
    out: Path,
    title: str,
    question: str = "",
    examples: int = EXAMPLES,
    command: str = "",
) -> Path:
    """Write the page, whole or not at all, and give back its path.

    names: of experiments; the others are compared with the first. tables, figures: files as in results/tables and
    results/figures; without any, what is usual is shown. records_folder: the ledger, or scratch runs. question: what
    the experiments are to answer. examples: rows a task on which two networks differ; 0: none, and no data are read.
    command: that makes the page again. Variants of an experiment stand on the page where a table or a figure shows
    them.
    Raises ReportError for a name without records, records that do not fit together, and code in the ledger that no
    commit holds; RecordError for untrusted records; ConfigError for mistakes in a table or figure file; DiskError.
    """
    names = list(dict.fromkeys(names))
    stored = trusted_records(records_folder)
    _require(names, stored, records_folder)
    if tables or figures:
        shown = [table_from(stored, load_section(path, TableFile), path) for path in tables]
        drawn = [(load_figure(path), figure_of(path, stored)[2]) for path in figures]
    else:
        shown, drawn = usual_tables(stored, names), usual_figures(stored, names)
    used = _used(stored, names, shown, drawn)
    if records_folder == places.records:
        _require_commits(used)
    text = report_page(title, question, used, shown, drawn, pairs_of(grouped(used), examples, places), command)
    _put(text.encode("utf-8"), out)
    return out


def _require(names: Sequence[str], stored: Sequence[StoredRecord], folder: Path) -> None:
    known = {record_of(each).name for each in stored}
    problems = [
        f"{name}: no record in {folder}; it has {', '.join(sorted(known)) or 'none'}; run the experiment, or read the "
        "scratch runs with `--runs`"
        for name in names
        if name not in known
    ]
    if problems:
        raise ReportError("\n".join(problems))


def _used(
    stored: Sequence[StoredRecord],
    names: Sequence[str],
    tables: Sequence[Table],
    figures: Sequence[tuple[FigureFile, Data]],
) -> list[StoredRecord]:
    """The records of the named experiments, and all that the tables and figures rest on; in the order of the names."""
    rests = {record.file_name for table in tables for record in table.records}
    rests |= {name for _, data in figures for name in data.records}
    order = {name: place for place, name in enumerate(names)}
    used = [
        each
        for each in stored
        if each.name in rests or (record_of(each).name in order and not isinstance(each.record, VariantRecord))
    ]
    return sorted(used, key=lambda each: (order.get(record_of(each).name, len(order)), each.name.count("/")))


def _require_commits(used: Sequence[StoredRecord]) -> None:
    reasons = [(each.path, untracked_code(record_of(each))) for each in used]
    problems = [
        f"{path}: {reason}; commit, run the experiment again and keep it with `mmkd keep`"
        for path, reason in reasons
        if reason is not None
    ]
    if problems:
        raise ReportError("\n".join(problems))


def _put(data: bytes, out: Path) -> None:
    temporary = out.with_name(f"{out.name}.{os.getpid()}.tmp")
    with told_of_disk(out, len(data)):
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            write(temporary, data)
            rename(temporary, out)
        finally:
            temporary.unlink(missing_ok=True)
