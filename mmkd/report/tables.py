"""Writes the tables of a folder from the records, and checks that the stored ones follow from them to the byte."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from mmkd.config.problems import ConfigError
from mmkd.config.section_file import load_section
from mmkd.places import Places
from mmkd.report.difference import differences
from mmkd.report.error import ReportError
from mmkd.report.examples.against_baseline import with_tests_over_examples
from mmkd.report.records import (
    SCRATCH_NAME,
    StoredRecord,
    find_records,
    ledger_predictions,
    trusted_records,
    untracked_code,
)
from mmkd.report.render import escape_latex, to_csv, to_html, to_latex, to_markdown
from mmkd.report.soundness import unsound
from mmkd.report.staleness import stale
from mmkd.report.studies import words_of_studies
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile
from mmkd.report.variants import expanded, may_rest_on, rests_on
from mmkd.report.yaml_files import yaml_files

RENDERERS = {".md": to_markdown, ".tex": to_latex, ".csv": to_csv, ".html": to_html}
COMMAND = "mmkd tables"


def write_tables(
    tables_folder: Path, records_folder: Path, output_folder: Path, names: Collection[str] | None = None
) -> list[Path]:
    """Write <name>.md, .tex, .csv and .html for every <name>.yaml of a folder, and give back their paths.

    records_folder: the ledger, or scratch runs. names: of the tables to write; None: all. Nothing is written unless
    every one can be made.
    Raises ConfigError for mistakes in a table file, ReportError for records that do not fit, RecordError for untrusted
    ones.
    """
    stored = trusted_records(records_folder)
    texts: dict[Path, str] = {}
    for path in yaml_files(tables_folder, "table", names):
        table = table_from(stored, load_section(path, TableFile), path)
        texts |= {output_folder / f"{path.stem}{suffix}": render(table) for suffix, render in RENDERERS.items()}
    output_folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_bytes(text.encode("utf-8"))
    return list(texts)


def table_of(path: Path, records_folder: Path) -> Table:
    """The table of one table file, to show.

    Raises as `write_tables` does.
    """
    return table_from(trusted_records(records_folder), load_section(path, TableFile), path)


def tables_of(tables_folder: Path, records_folder: Path) -> list[Table]:
    """Every table of a folder, in the order of their names.

    Raises as `write_tables` does.
    """
    stored = trusted_records(records_folder)
    return [table_from(stored, load_section(path, TableFile), path) for path in yaml_files(tables_folder, "table")]


def check_tables(tables_folder: Path, records_folder: Path, root: Path | None = None) -> list[str]:
    """What is wrong with the stored tables of a folder and with the records below another; empty when nothing is.

    A record that is not as its run wrote it is named with every cell that rests on it, shown or not.
    root: the project's folder, whose experiment files the records are compared with; None compares none.
    Raises ReportError where a folder is absent.
    """
    stored = find_records(records_folder)
    records = [each.record for each in stored if each.record is not None]
    problems: list[str] = []
    files: dict[Path, TableFile] = {}
    for path in yaml_files(tables_folder, "table"):
        try:
            files[path] = load_section(path, TableFile)
            files[path] = expanded(files[path], records)
        except ConfigError as error:
            problems += str(error).splitlines()
        except ReportError:
            pass  # named below, where the table is built
    old = {} if root is None else stale(records, root)
    problems += _record_problems(stored, files, old)
    for path, file in files.items():
        try:
            table = table_from(stored, file, path)
        except ReportError as error:
            problems.append(f"{path}: {error}")
            continue
        problems += [f"{path}: {line}" for line in unsound(table)]
        for suffix, render in RENDERERS.items():
            problems += _compare(path.with_suffix(suffix), render(table), table)
    return problems + _strays(tables_folder) + _unpaired(records_folder, stored)


def table_from(stored: Sequence[StoredRecord], file: TableFile, path: Path) -> Table:
    """The table of one table file and trusted records, with all that its file asks for. path: of the file.

    Raises ReportError for records, or predictions, that do not fit.
    """
    records = [each.record for each in stored if each.record is not None]
    studies = words_of_studies(Places.near(path).root)
    return with_tests_over_examples(build_table(records, file, path.stem, studies), stored)


def _record_problems(stored: list[StoredRecord], files: dict[Path, TableFile], old: Mapping[str, str]) -> list[str]:
    """old: record's name -> why it is stale."""
    problems = []
    for each in stored:
        reasons = [each.fault] if each.fault else []
        untracked = None if each.record is None else untracked_code(each.record)
        if untracked is not None:
            reasons.append(f"{untracked}; commit, run the experiment again and keep it with `mmkd keep`")
        if each.name in old:
            reasons.append(old[each.name])
        problems += [f"{each.path}: {reason}; {_cells_on(each, files)}" for reason in reasons]
    return problems


def _cells_on(stored: StoredRecord, files: dict[Path, TableFile]) -> str:
    """The cells that rest on a record, by its place in the ledger, which a change of its content leaves as it is."""
    lines = []
    record = stored.record
    if record is not None and record.file_name != stored.name:
        record = None  # of another place
    for path, file in files.items():
        for label, row in file.rows.items():
            if may_rest_on(row, stored.name) if record is None else rests_on(row, record):
                lines.append(f"table {path.stem}, row {label}, columns {', '.join(file.columns)}")
    return f"on it rest: {'; '.join(lines)}" if lines else "no table rests on it"


def _compare(path: Path, expected: str, table: Table) -> list[str]:
    if not path.is_file():
        return [f"{path}: is missing; make it with `{COMMAND}`"]
    found = path.read_bytes()
    if found == expected.encode("utf-8"):
        return []
    text = found.decode("utf-8", "backslashreplace")
    sources = {
        escape(row.label): [record.file_name for record in row.records]
        for row in table.rows
        for escape in (str, escape_latex)
    }
    return [f"{path.parent}/{line}" for line in differences(path.name, text, expected, sources)]


def _unpaired(folder: Path, stored: list[StoredRecord]) -> list[str]:
    """Files of the ledger that are no record and go with none: what an unfinished copy leaves."""
    if any(each.path.name == SCRATCH_NAME for each in stored):
        return []
    known = {path for each in stored for path in (each.path, ledger_predictions(each.path))}
    strays = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in known]
    return [f"{path}: goes with no record; delete it, or keep its run with `mmkd keep`" for path in strays]


def _strays(folder: Path) -> list[str]:
    strays = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in RENDERERS and path.name != "README.md" and not path.with_suffix(".yaml").is_file()
    ]
    return [f"{path}: has no table file {path.stem}.yaml; delete it, or write its table file" for path in strays]
