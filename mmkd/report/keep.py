"""Copies finished runs from the scratch folder into the ledger of records that tables rest on."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace as replaced
from pathlib import Path

from mmkd.record import RunRecord
from mmkd.report.error import ReportError
from mmkd.report.records import (
    StoredRecord,
    find_records,
    find_runs,
    ledger_predictions,
    untracked_code,
    variant_of,
)
from mmkd.report.variants import VariantRecord


def keep(
    runs_folder: Path,
    records_folder: Path,
    names: Collection[str] | None = None,
    allow_dirty: bool = False,
    replace: bool = False,
    variants: bool = False,
    seeds: Collection[int] | None = None,
) -> list[Path]:
    """Copy records, with their predictions, into the ledger; give back the ledger's paths of those that are new there.

    names: of experiments; None keeps all. allow_dirty: also code that no commit holds. replace: overwrite a different
    record of the same name. variants: also runs of other values of the experiments' keys, each in a folder of its own;
    the name's own place stays with the experiment that the ledger has there. seeds: of students; None keeps all. Either
    every record is copied, or none.
    Raises ReportError with one line for each record that is refused, or name that has no record.
    """
    runs = find_runs(runs_folder)
    if variants:
        runs = _in_their_places(runs, records_folder)
    else:
        runs = [each for each in runs if not isinstance(each.record, VariantRecord)]
    if seeds is not None:
        runs = [each for each in runs if each.record is None or each.record.teacher or each.record.seed in seeds]
    problems = []
    if names is not None:
        known = {each.record.name for each in runs if each.record is not None}
        problems = [
            f"{name}: no record in {runs_folder}; it has {_listed(known)}" for name in names if name not in known
        ]
        runs = [each for each in runs if each.record is not None and each.record.name in names]
    for each in runs:
        problems += [f"{each.path}: {reason}" for reason in _refusals(each, records_folder, allow_dirty, replace)]
    if problems:
        raise ReportError("\n".join(problems))
    return [records_folder / each.name for each in runs if _copy(each, records_folder / each.name)]


def _in_their_places(runs: list[StoredRecord], records_folder: Path) -> list[StoredRecord]:
    """Runs of the experiment that has a name's own place in the ledger go there, all others into variants' folders."""
    if not records_folder.is_dir():
        return runs
    kept = [each.record for each in find_records(records_folder) if each.record is not None]
    own = {record.name: record.experiment_hash for record in kept if not isinstance(record, VariantRecord)}
    placed = []
    for each in runs:
        if each.record is not None and each.record.name in own:
            plain = RunRecord.model_validate(each.record.model_dump())
            each = replaced(each, record=plain, name=plain.file_name)
            each = each if plain.experiment_hash == own[plain.name] else variant_of(each)
        placed.append(each)
    return placed


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _refusals(run: StoredRecord, records_folder: Path, allow_dirty: bool, replace: bool) -> list[str]:
    if run.fault is not None or run.record is None:
        return [run.fault or "no record"]
    reasons = []
    target = records_folder / run.name
    if not target.resolve().is_relative_to(records_folder.resolve()):
        reasons.append(f"its name {run.name} leads out of {records_folder}; expected a plain experiment name")
    untracked = untracked_code(run.record)
    if untracked is not None and not allow_dirty:
        reasons.append(f"{untracked}; commit and run it again, or allow it; the check of tables will name it")
    if not replace and any(copy.is_file() and not _same(source, copy) for source, copy in _files(run, target)):
        reasons.append(f"{target} holds another record or other predictions; replace it, or run under another name")
    return reasons


def _files(run: StoredRecord, target: Path) -> list[tuple[Path | None, Path]]:
    """(source, copy) of the record's files, the record itself last, so that it never stands without its predictions."""
    has_predictions = run.record is not None and run.record.predictions is not None
    return [(run.predictions_path if has_predictions else None, ledger_predictions(target)), (run.path, target)]


def _same(source: Path | None, copy: Path) -> bool:
    return source is not None and copy.is_file() and source.read_bytes() == copy.read_bytes()


def _copy(run: StoredRecord, target: Path) -> bool:
    """Copy the files that differ, and remove predictions that the record no longer has; whether anything changed."""
    changed = False
    for source, copy in _files(run, target):
        if source is None:
            changed = changed or copy.is_file()
            copy.unlink(missing_ok=True)
        elif not _same(source, copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            temporary = copy.with_name(copy.name + ".tmp")
            shutil.copyfile(source, temporary)
            temporary.replace(copy)
            changed = True
    return changed
