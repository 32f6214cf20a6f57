"""Writes the figures of a folder from the records, and checks that the stored ones follow from them.

Beside `<name>.yaml` stand `<name>.json`, exactly the numbers that are drawn, and `<name>.pdf` and `<name>.png`, which
hold the sha256 of that JSON: two drawings of equal numbers may differ in their bytes from machine to machine, and are
not compared.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mmkd.config.problems import ConfigError
from mmkd.record import RecordError
from mmkd.report.error import ReportError
from mmkd.report.figures.base import Data, json_text
from mmkd.report.figures.kinds import KINDS, load_figure
from mmkd.report.plot_style import STYLE
from mmkd.report.records import StoredRecord, trusted_records
from mmkd.report.yaml_files import yaml_files

PICTURES = (".pdf", ".png")
SUFFIXES = (".json", *PICTURES)
COMMAND = "mmkd figures"


def write_figures(
    figures_folder: Path, records_folder: Path, output_folder: Path, names: Collection[str] | None = None
) -> list[Path]:
    """Write <name>.json, .pdf and .png for every <name>.yaml of a folder, and give back their paths.

    records_folder: the ledger, or scratch runs. names: of the figures to draw; None: all. Nothing is written unless
    every one can be made.
    Raises ConfigError for mistakes in a figure file, ReportError for records that do not fit, RecordError for untrusted
    ones.
    """
    stored = trusted_records(records_folder)
    made = {path: figure_of(path, stored) for path in yaml_files(figures_folder, "figure", names)}
    output_folder.mkdir(parents=True, exist_ok=True)
    written = []
    for path, (kind, text, data) in made.items():
        target = output_folder / path.name
        target.with_suffix(".json").write_bytes(text.encode("utf-8"))
        _draw(kind, data, text, target)
        written += [target.with_suffix(suffix) for suffix in SUFFIXES]
    return written


def check_figures(figures_folder: Path, records_folder: Path) -> list[str]:
    """What is wrong with the stored figures of a folder; empty when nothing is.

    Raises ReportError where a folder is absent.
    """
    try:
        stored = trusted_records(records_folder)
    except RecordError as error:
        return str(error).splitlines()
    problems = []
    for path in yaml_files(figures_folder, "figure"):
        try:
            _, text, _ = figure_of(path, stored)
        except ConfigError as error:
            problems += str(error).splitlines()
            continue
        except ReportError as error:
            problems.append(str(error))
            continue
        problems += _compare(path.with_suffix(".json"), text)
        problems += [
            f"{picture}: {fault}; make it with `{COMMAND}`"
            for picture in map(path.with_suffix, PICTURES)
            if (fault := _picture_fault(picture, text))
        ]
    return problems + _strays(figures_folder)


def figure_of(path: Path, stored: Sequence[StoredRecord]) -> tuple[str, str, Data]:
    """Kind, JSON and data of the figure of one file.

    Raises ConfigError for mistakes in the file, ReportError for records that do not fit.
    """
    file = load_figure(path)
    try:
        data = KINDS[file.kind].data(file, stored, path.stem)
    except ReportError as error:
        raise ReportError(f"{path}: {error}") from error
    return file.kind, json_text(file.kind, file.title, data), data


def _draw(kind: str, data: Data, text: str, target: Path) -> None:
    import matplotlib

    mark = _mark(text)
    with matplotlib.rc_context(STYLE):
        figure = KINDS[kind].draw(data)
        figure.savefig(target.with_suffix(".pdf"), metadata={"Keywords": mark, "CreationDate": None})
        figure.savefig(target.with_suffix(".png"), dpi=200, metadata={"Description": mark})


def _mark(text: str) -> str:
    """What a picture holds of the numbers that it shows."""
    return f"sha256:{hashlib.sha256(text.encode('utf-8')).hexdigest()}"


def _picture_fault(path: Path, text: str) -> str | None:
    if not path.is_file():
        return "is missing"
    return None if _mark(text).encode() in path.read_bytes() else "shows other numbers than follow from the records"


def _compare(path: Path, expected: str) -> list[str]:
    if not path.is_file():
        return [f"{path}: is missing; make it with `{COMMAND}`"]
    found = path.read_bytes()
    if found == expected.encode("utf-8"):
        return []
    try:
        differing = list(_differences("", json.loads(found), json.loads(expected)))
    except ValueError as error:
        return [f"{path}: is no JSON ({error}); make it with `{COMMAND}`"]
    return [f"{path}: {line}" for line in differing] or [f"{path}: is written otherwise than `{COMMAND}` writes it"]


def _differences(where: str, found: Any, expected: Any) -> Iterator[str]:
    """A line for each place at which two JSON values differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in {**expected, **found}:
            yield from _differences(f"{where}.{key}".lstrip("."), found.get(key), expected.get(key))
    elif isinstance(found, list) and isinstance(expected, list):
        for place, (one, other) in enumerate(zip_longest(found, expected)):
            yield from _differences(f"{where}[{place}]", one, other)
    elif found != expected:
        yield f"{where}: found {_short(found)}, but {_short(expected)} follows from the records"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _strays(folder: Path) -> list[str]:
    return [
        f"{path}: has no figure file {path.stem}.yaml; delete it, or write its figure file"
        for path in sorted(folder.iterdir())
        if path.suffix in SUFFIXES and not path.with_suffix(".yaml").is_file()
    ]
