"""Writes the tables of a folder from the records, and checks that the stored ones follow from them to the byte."""

from __future__ import annotations

import re
from pathlib import Path

from mmkd.config.problems import ConfigError
from mmkd.config.section_file import load_section
from mmkd.record import RunRecord
from mmkd.report.cell import rests_on
from mmkd.report.difference import differences
from mmkd.report.error import ReportError
from mmkd.report.records import StoredRecord, find_records, load_records, untracked_code
from mmkd.report.render import to_csv, to_latex, to_markdown
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile

RENDERERS = {".md": to_markdown, ".tex": to_latex, ".csv": to_csv}
COMMAND = "mmkd tables"


def write_tables(tables_folder: Path, records_folder: Path, output_folder: Path) -> list[Path]:
    """Write <name>.md, .tex and .csv for every <name>.yaml of a folder, and give back their paths.

    records_folder: the ledger, or scratch runs. Nothing is written unless every table can be made.
    Raises ConfigError for mistakes in a table file, ReportError for records that do not fit, RecordError for untrusted
    ones.
    """
    records = load_records(records_folder)
    texts: dict[Path, str] = {}
    for path in _table_files(tables_folder):
        for suffix, text in _texts(load_section(path, TableFile), records, path).items():
            texts[output_folder / f"{path.stem}{suffix}"] = text
    output_folder.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_bytes(text.encode("utf-8"))
    return list(texts)


def table_of(path: Path, records_folder: Path) -> Table:
    """The table of one table file, to show.

    Raises as `write_tables` does.
    """
    return build_table(load_records(records_folder), load_section(path, TableFile), path.stem)


def check_tables(tables_folder: Path, records_folder: Path) -> list[str]:
    """What is wrong with the stored tables of a folder and with the records below another; empty when nothing is.

    A record that is not as its run wrote it is named with every cell that rests on it, shown or not.
    Raises ReportError where a folder is absent.
    """
    stored = find_records(records_folder)
    records = [each.record for each in stored if each.record is not None]
    problems: list[str] = []
    files: dict[Path, TableFile] = {}
    for path in _table_files(tables_folder):
        try:
            files[path] = load_section(path, TableFile)
        except ConfigError as error:
            problems += str(error).splitlines()
    problems += _record_problems(stored, files)
    for path, file in files.items():
        try:
            texts = _texts(file, records, path)
        except ReportError as error:
            problems.append(f"{path}: {error}")
            continue
        for suffix, text in texts.items():
            problems += _compare(path.with_suffix(suffix), text)
    return problems + _strays(tables_folder)


def _table_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; expected one of table files, <name>.yaml")
    paths = sorted(folder.glob("*.yaml"))
    for path in paths:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", path.stem):
            raise ReportError(
                f"{path}: a table's name is found as {path.stem!r}; expected letters, digits, _ and - only"
            )
    return paths


def _texts(file: TableFile, records: list[RunRecord], path: Path) -> dict[str, str]:
    table = build_table(records, file, path.stem)
    return {suffix: render(table) for suffix, render in RENDERERS.items()}


def _record_problems(stored: list[StoredRecord], files: dict[Path, TableFile]) -> list[str]:
    problems = []
    for each in stored:
        reasons = [each.fault] if each.fault else []
        untracked = None if each.record is None else untracked_code(each.record)
        if untracked is not None:
            reasons.append(f"{untracked}; commit, run the experiment again and keep it with `mmkd keep`")
        problems += [f"{each.path}: {reason}; {_cells_on(each, files)}" for reason in reasons]
    return problems


def _cells_on(stored: StoredRecord, files: dict[Path, TableFile]) -> str:
    """The cells that rest on a record, by its place in the ledger, which a change of its content leaves as it is."""
    lines = []
    for path, file in files.items():
        for label, row in file.rows.items():
            if rests_on(row, stored.name):
                lines.append(f"table {path.stem}, row {label}, columns {', '.join(file.columns)}")
    return f"on it rest: {'; '.join(lines)}" if lines else "no table rests on it"


def _compare(path: Path, expected: str) -> list[str]:
    if not path.is_file():
        return [f"{path}: is missing; make it with `{COMMAND}`"]
    found = path.read_bytes()
    if found == expected.encode("utf-8"):
        return []
    return [
        f"{path.parent}/{line}" for line in differences(path.name, found.decode("utf-8", "backslashreplace"), expected)
    ]


def _strays(folder: Path) -> list[str]:
    strays = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in RENDERERS and path.name != "README.md" and not path.with_suffix(".yaml").is_file()
    ]
    return [f"{path}: has no table file {path.stem}.yaml; delete it, or write its table file" for path in strays]
