"""The records of a page, by experiment and network. Variants of an experiment are experiments of their own here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from mmkd.record import RunRecord
from mmkd.report.error import ReportError
from mmkd.report.records import StoredRecord
from mmkd.report.variants import VariantRecord


@dataclass(frozen=True)
class Group:
    """The runs of one resolved experiment.

    label: its name; of a variant, with the start of its hash. networks: `student` or `teacher-NAME` -> runs by seed.
    """

    label: str
    is_variant: bool
    networks: dict[str, list[StoredRecord]] = field(default_factory=dict)

    @property
    def records(self) -> list[RunRecord]:
        """Of all its networks."""
        return [record_of(each) for runs in self.networks.values() for each in runs]

    @property
    def first(self) -> RunRecord:
        """One of its records: all have the same resolved experiment but for seeds."""
        return self.records[0]


def record_of(stored: StoredRecord) -> RunRecord:
    """The record of a file that is trusted."""
    assert stored.record is not None
    return stored.record


def grouped(stored: Iterable[StoredRecord]) -> list[Group]:
    """The groups, in the order in which their first records come; the students first in each.

    Raises ReportError where two experiments have one name.
    """
    groups: dict[str, Group] = {}
    for each in sorted(stored, key=lambda one: record_of(one).role != "student"):
        record = record_of(each)
        label = record.file_name.rpartition("/")[0]
        group = groups.setdefault(label, Group(label, isinstance(record, VariantRecord)))
        if group.networks and group.first.experiment_hash != record.experiment_hash:
            raise ReportError(
                f"records of different experiments that are both named {record.name}: {group.first.file_name} "
                f"({group.first.experiment_hash[:12]}) and {record.file_name} ({record.experiment_hash[:12]}); run "
                "both again from one experiment file, or rename one"
            )
        group.networks.setdefault(record.network, []).append(each)
    for group in groups.values():
        for runs in group.networks.values():
            runs.sort(key=lambda one: record_of(one).seed)
    return list(groups.values())


def network_name(record: RunRecord) -> str:
    """Which network of its experiment, in words."""
    return "student" if record.teacher is None else f"teacher {record.teacher}"
