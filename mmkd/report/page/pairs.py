"""Which networks are compared row by row: each student with its teachers, and with the first experiment's student."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmkd.data.relabel import Form
from mmkd.places import Places
from mmkd.record import RunRecord
from mmkd.report.page.contents import forms_of, label_names, members_of, read_contents
from mmkd.report.page.disagreement import Disagreement, disagreement, same_rows
from mmkd.report.page.examples import Pair
from mmkd.report.page.groups import Group, network_name, record_of
from mmkd.report.records import StoredRecord


def pairs_of(groups: Sequence[Group], number: int, places: Places) -> list[Pair]:
    """The pairs, `number` rows a task chosen in each; of variants none, since there may be many.

    A student is that of its experiment's lowest seed with predictions, where pairs of two experiments share one.
    """
    if not number:
        return []
    named = [group for group in groups if not group.is_variant]
    pairs = []
    for group in named:
        students = _with_predictions(group.networks.get("student", ()))
        for network, runs in group.networks.items():
            teachers = _with_predictions(runs)
            if network != "student" and students and teachers:
                one, other = students[0], teachers[0]
                title = f"{group.label}, seed {record_of(one).seed}: student and {network_name(record_of(other))}"
                names = ("student", network_name(record_of(other)))
                pairs.append(_pair(one, other, title, names, number, places))
    for group in named[1:]:
        first = {record_of(each).seed: each for each in _with_predictions(named[0].networks.get("student", ()))}
        shared = [s for s in _with_predictions(group.networks.get("student", ())) if record_of(s).seed in first]
        if shared:
            names = (group.label, named[0].label)
            title = f"{' and '.join(names)}, seed {record_of(shared[0]).seed}: their students"
            pairs.append(_pair(shared[0], first[record_of(shared[0]).seed], title, names, number, places))
    return pairs


def _with_predictions(runs: Sequence[StoredRecord]) -> list[StoredRecord]:
    return [each for each in runs if record_of(each).predictions is not None]


def _pair(
    one: StoredRecord, other: StoredRecord, title: str, names: tuple[str, str], number: int, places: Places
) -> Pair:
    record = record_of(one)
    split = record.predicted_split
    members, notes = members_of(record, places)
    forms, more = forms_of(record)
    labels = label_names(record, members)
    notes += more
    found: list[Disagreement] = []
    if split != record_of(other).predicted_split:
        notes.append(f"Not compared: one was evaluated on {split}, the other on {record_of(other).predicted_split}.")
    else:
        theirs = label_names(record_of(other), members_of(record_of(other), places)[0])
        tasks = _comparable(forms, labels, theirs, notes)
        if _rows(record, split) != _rows(record_of(other), split):
            tasks = _of_same_rows(tasks, one, other, notes)
        each = (disagreement(one, other, task, forms[task], labels[task], number) for task in tasks)
        found = [one_task for one_task in each if one_task is not None]
    ids = {row.id for each in found for row in each.chosen}
    contents = read_contents(record, members, split, ids, places)
    return Pair(title, *names, split, tuple(found), contents.rows, (*notes, *contents.notes), tuple(contents.licences))


def _rows(record: RunRecord, split: str) -> dict[str, str]:
    """Data set -> fingerprint of its rows of a split."""
    return {name: key for name, key in record.data.items() if name.endswith(f"/{split}")}


def _of_same_rows(tasks: Sequence[str], one: StoredRecord, other: StoredRecord, notes: list[str]) -> list[str]:
    """The tasks whose rows have the same ids and labels in both; a note for each of the others, and one for these."""
    same = [task for task in tasks if same_rows(one, other, task)]
    notes += [
        f"{task}: not compared: the two were not evaluated on the same rows" for task in tasks if task not in same
    ]
    if same:
        notes.append("The data of the two have other fingerprints; ids and labels of the compared rows are the same.")
    return same


def _comparable(
    forms: Mapping[str, Form],
    ours: Mapping[str, tuple[str, ...]],
    theirs: Mapping[str, tuple[str, ...]],
    notes: list[str],
) -> list[str]:
    """The tasks whose labels mean the same in both; a note for each of the others that both have."""
    both = [task for task in forms if task in theirs]
    notes += [
        f"{task}: not compared: the two have other labels, or in another order"
        for task in both
        if ours[task] != theirs[task]
    ]
    return [task for task in both if ours[task] == theirs[task]]
