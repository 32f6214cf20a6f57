"""Runs with overrides share their experiment's name: records of other values of its keys, and rows that select them.

Of one name, one resolved experiment is what the name stands for. All others are variants of it: they lie in folders of
their own, and stand in a table only where a row asks for values of keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmkd.config.problems import did_you_mean
from mmkd.record import RunRecord
from mmkd.report.error import ReportError
from mmkd.report.table_file import CeilingRow, QuotedRow, RunRow, TableFile, VaryRow


class VariantRecord(RunRecord):
    """A record of other values of an experiment's keys than those that its name stands for."""

    @property
    def file_name(self) -> str:
        """The record's name in the ledger: one per resolved experiment, role and seed."""
        return f"{self.name}/{self.experiment_hash[:8]}/{self.network}-seed{self.seed}.json"


def as_variant(record: RunRecord) -> VariantRecord:
    """The same record as one of a variant."""
    return VariantRecord.model_validate(record.model_dump())


def rests_on(row: RunRow | VaryRow | CeilingRow | QuotedRow, record: RunRecord) -> bool:
    """Whether a row rests on a record: of its network, and of the values that it asks for; or any, for a ceiling."""
    if not may_rest_on(row, record.file_name):
        return False
    return not isinstance(row, RunRow | VaryRow) or all(
        _equal(value_of(record.experiment, key), value) for key, value in row.where.items()
    )


def may_rest_on(row: RunRow | VaryRow | CeilingRow | QuotedRow, record_name: str) -> bool:
    """Whether a row can rest on the record of that name in the ledger, whatever its keys' values are."""
    if isinstance(row, QuotedRow):
        return False
    folder, _, file = record_name.rpartition("/")
    name, _, variant = folder.partition("/")
    if name != row.experiment or (variant and (isinstance(row, CeilingRow) or not row.selects)):
        return False
    return isinstance(row, CeilingRow) or file.rpartition("-seed")[0] == row.network


def value_of(experiment: Mapping[str, Any], key: str) -> Any:
    """The value at `a.b.c` of a resolved experiment; None where it has no such key."""
    found: Any = experiment
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return None
        found = found[part]
    return found


def expanded(file: TableFile, records: Sequence[RunRecord]) -> TableFile:
    """The table file with a row for each value in place of each row that varies a key.

    Raises ReportError for a key that no record has, and for two rows of one label.
    """
    rows: dict[str, RunRow | CeilingRow | QuotedRow] = {}
    shown: dict[str, list[str]] = {}
    for label, row in file.rows.items():
        new = _by_value(label, row, records) if isinstance(row, VaryRow) else {label: row}
        for twice in new.keys() & rows.keys():
            raise ReportError(f"row {twice}: found twice, as a row and as a value of {label}; rename one of them")
        rows |= new
        shown[label] = list(new)
    groups = {name: tuple(each for label in labels for each in shown[label]) for name, labels in file.groups.items()}
    return file.model_copy(update={"rows": rows, "groups": groups})


def _by_value(label: str, row: VaryRow, records: Sequence[RunRecord]) -> dict[str, RunRow]:
    """Label -> row, sorted by the values; the row alone, for it to be missing, where the experiment has no record."""
    plain = RunRow(experiment=row.experiment, role=row.role, teacher=row.teacher, where=row.where)
    found = [record for record in records if rests_on(row, record)]
    values = [value for each in found if (value := value_of(each.experiment, row.vary)) is not None]
    if not found:
        return {label: plain}
    if not values:
        near = did_you_mean(row.vary, {key for each in found for key in keys_of(each.experiment)})
        raise ReportError(
            f"row {label}: the records of `{row.experiment}` have no key `{row.vary}`; expected one of theirs{near}"
        )
    return {
        f"{label} {value_text(value)}": plain.model_copy(update={"where": row.where | {row.vary: value}})
        for value in sorted(values, key=_order)
    }


def value_text(value: Any) -> str:
    """A key's value in a label: 4 for 4.0, a name without quotes, all else as JSON."""
    if isinstance(value, str):
        return value.replace("`", "'")
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False).replace("`", "'")


def _order(value: Any) -> tuple[bool, float, str]:
    """Numbers first, by size; then the text."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return not number, value if number else 0.0, value_text(value)


def keys_of(plain: Mapping[str, Any], start: str = "") -> Iterable[str]:
    """Every key of a resolved experiment, as `a.b.c`."""
    for key, value in plain.items():
        yield f"{start}{key}"
        if isinstance(value, Mapping):
            yield from keys_of(value, f"{start}{key}.")


def _equal(one: Any, other: Any) -> bool:
    """Equal values; `true` is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)
