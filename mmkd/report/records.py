"""Finds run records: in the scratch runs (`record.json`), or in the ledger (one file per experiment, role and seed).

Of one experiment name there may be several resolved experiments, of runs with overrides: one of them has the name's
own place in the ledger, the others are variants, each in a folder below it. Of scratch runs, the latest has it.

A record is trusted when it stands as the run wrote it: its own sha256, the text of the file to the letter, its place in
the ledger, and the sha256 of the predictions beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mmkd.record import RecordError, RunRecord, digest_of
from mmkd.report.error import ReportError
from mmkd.report.variants import VariantRecord, as_variant

SCRATCH_NAME = "record.json"
SCRATCH_PREDICTIONS = "predictions.parquet"


@dataclass(frozen=True)
class StoredRecord:
    """A record file.

    name: what it is called in the ledger, wherever it lies now. record: None where the file holds none.
    fault: why it is not trusted, or None. superseded: older scratch records of the same name, not used.
    """

    path: Path
    name: str
    record: RunRecord | None
    fault: str | None
    superseded: tuple[Path, ...] = ()

    @property
    def predictions_path(self) -> Path:
        """Where the predictions of this record lie, if it has any."""
        return (
            self.path.with_name(SCRATCH_PREDICTIONS)
            if self.path.name == SCRATCH_NAME
            else ledger_predictions(self.path)
        )


def ledger_predictions(path: Path) -> Path:
    """The predictions file that goes with a record file of the ledger."""
    return path.with_suffix(".parquet")


def load_records(folder: Path) -> list[RunRecord]:
    """All records below a folder of scratch runs or a ledger, variants too, sorted by their names in the ledger.

    Raises as `trusted_records` does.
    """
    return [each.record for each in trusted_records(folder) if each.record is not None]


def trusted_records(folder: Path) -> list[StoredRecord]:
    """The same, with the files that they are in.

    Raises ReportError where the folder is absent, RecordError with a line for each record that cannot be trusted.
    """
    stored = find_records(folder)
    faults = [f"{each.path}: {each.fault}" for each in stored if each.fault]
    if faults:
        raise RecordError("\n".join(faults))
    return stored


def find_records(folder: Path) -> list[StoredRecord]:
    """Every record below a folder, trusted or not. A folder that holds a `record.json` is one of scratch runs.

    Raises ReportError where the folder is absent.
    """
    if not folder.is_dir():
        raise ReportError(f"{folder}: no such folder; expected a folder of run records")
    if next(folder.rglob(SCRATCH_NAME), None) is not None:
        return find_runs(folder)
    paths = sorted(folder.rglob("*.json"))
    return [_read(path, path.relative_to(folder).as_posix()) for path in paths]


def find_runs(runs_folder: Path) -> list[StoredRecord]:
    """The scratch records below a folder; of several of one name, the latest by `created`, which names the others.

    Runs with overrides share the name of their experiment file: those of the latest resolved experiment have the name,
    the others are variants of it.
    Raises ReportError where the folder is absent.
    """
    if not runs_folder.is_dir():
        raise ReportError(f"{runs_folder}: no such folder; expected the folder that `mmkd run` writes to")
    found = [_read(path, None) for path in sorted(runs_folder.rglob(SCRATCH_NAME))]
    latest: dict[str, RunRecord] = {}
    for record in (each.record for each in found if each.record is not None):
        if record.name not in latest or _created(record) > _created(latest[record.name]):
            latest[record.name] = record
    by_name: dict[str, list[StoredRecord]] = {}
    for each in found:
        if each.record is not None and each.record.experiment_hash != latest[each.record.name].experiment_hash:
            each = variant_of(each)
        by_name.setdefault(each.name, []).append(each)
    return [_latest(by_name[name]) for name in sorted(by_name)]


def variant_of(stored: StoredRecord) -> StoredRecord:
    """The same record file, of a variant of its experiment's name."""
    assert stored.record is not None
    record = as_variant(stored.record)
    return replace(stored, record=record, name=record.file_name)


def untracked_code(record: RunRecord) -> str | None:
    """Why nobody can get back the code that made a record; None where its commit says it all."""
    if record.code.commit is None:
        return "it was run outside a repository, so that its code is not known by a commit"
    if record.code.diff is not None:
        return f"it was run with uncommitted changes (diff {record.code.diff[:12]}) to commit {record.code.commit[:12]}"
    return None


def sha256_of_file(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _latest(same_name: list[StoredRecord]) -> StoredRecord:
    latest = max(same_name, key=lambda each: _created(each.record))
    return replace(latest, superseded=tuple(each.path for each in same_name if each is not latest))


def _created(record: RunRecord | None) -> datetime:
    """When the run was recorded; a time without a zone counts as UTC, a file without a record as the earliest."""
    if record is None:
        return datetime.min.replace(tzinfo=UTC)
    created = datetime.fromisoformat(record.created)
    return created if created.tzinfo else created.replace(tzinfo=UTC)


def _read(path: Path, ledger_name: str | None) -> StoredRecord:
    """Read one file. ledger_name: where it lies in the ledger; None for a scratch record."""
    try:
        text = path.read_bytes().decode("utf-8")
        content = json.loads(text)
        variant = ledger_name is not None and ledger_name.count("/") == 2
        record = (VariantRecord if variant else RunRecord).model_validate(content)
        _created(record)
    except (OSError, ValueError) as error:
        reason = _in_one_line(error)
        fault = f"not a run record that this version reads ({reason}); restore it, or run the experiment again"
        return StoredRecord(path, ledger_name or path.as_posix(), None, fault)
    stored = StoredRecord(path, ledger_name or record.file_name, record, None)
    return replace(stored, fault="; ".join(_faults(stored, text, content)) or None)


def _in_one_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
    return " ".join(str(error).split())


def _faults(stored: StoredRecord, text: str, content: dict[str, Any]) -> Iterable[str]:
    """Why a record is not what a run wrote."""
    record = stored.record
    assert record is not None
    if record.digest != digest_of(content):
        yield (
            f"its content does not match its own sha256 (found {digest_of(content)[:12]}, expected "
            f"{record.digest[:12]}): it was changed after the run wrote it; restore it, or run the experiment again"
        )
    elif text != json.dumps(content, indent=1, ensure_ascii=False) + "\n":
        # A 17th digit that rounds to the same number, or a key given twice, leaves the content's sha256 as it is.
        yield "its text is not what the run wrote, though its numbers are; restore it, or run the experiment again"
    if stored.name != record.file_name:
        yield f"it is the record {record.file_name}, found under another name; keep it again with `mmkd keep`"
    if record.predictions is None:
        return
    if not stored.predictions_path.is_file():
        yield f"its predictions {stored.predictions_path.name} are missing; restore them, or run the experiment again"
    elif (found := sha256_of_file(stored.predictions_path)) != record.predictions:
        yield (
            f"its predictions {stored.predictions_path.name} do not match it (sha256 found {found[:12]}, expected "
            f"{record.predictions[:12]}); restore them, or run the experiment again"
        )
