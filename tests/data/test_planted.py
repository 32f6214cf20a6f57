"""Nothing is lost and nothing is substituted: planted defects among 5,000 good rows, each found where it was put."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from planted import MOODS, PLANTS, TAGS, Built, build
from rich.progress import Progress

import tiny_project
from mmkd.config.experiment import DataUse
from mmkd.data import dataset
from mmkd.data.account import SHOWN, Report
from mmkd.data.base import DataError
from mmkd.data.dataset import DataSet
from mmkd.data.findings import REASONS, WITHOUT_A_ROW
from mmkd.data.mix import Mix
from mmkd.run import run_experiment

QUARANTINE: dict[str, Any] = {reason: "quarantine" for reason in REASONS if reason not in WITHOUT_A_ROW}
SIZES = {"train": 3500, "transfer": 500, "validation": 500, "test": 500}
FEW = {"train": 4, "transfer": 2, "validation": 3, "test": 3}

OF_AN_IMAGE = {name for name in REASONS if name.startswith("image_") and "across" not in name} - {"image_missing"}


def found_in(report: Report) -> list[tuple[str, str, str | None, int | None, str | None]]:
    findings = [each.finding for each in report.found]
    return sorted(((one.reason, one.split, one.file, one.row, one.id) for one in findings), key=str)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Built:
    return build(tmp_path_factory.mktemp("planted") / "root", SIZES, PLANTS)


@pytest.fixture(scope="module")
def checked(planted: Built) -> DataSet:
    """The whole set, with all that is found quarantined."""
    data = planted.opened(planted.root.parent / "checks", QUARANTINE)
    data.report()
    return data


def test_every_reason_that_a_row_can_have_is_planted():
    assert {plant.reason for plant in PLANTS} == set(REASONS) - WITHOUT_A_ROW
    assert len(PLANTS) >= 60
    assert len({plant.name for plant in PLANTS}) == len(PLANTS)


def test_everything_planted_is_found_where_it_was_put_and_nothing_else(planted: Built, checked: DataSet):
    assert found_in(checked.report()) == planted.expected()


@pytest.mark.parametrize("reason", dict.fromkeys(plant.reason for plant in PLANTS))
def test_the_plants_of_one_reason_are_found_without_the_others(reason: str, tmp_path: Path):
    built = build(tmp_path / "root", FEW, [plant for plant in PLANTS if plant.reason == reason])
    report = built.opened(tmp_path / "checks", QUARANTINE).report()
    assert found_in(report) == built.expected()
    if reason in OF_AN_IMAGE:
        for each in report.found:
            image = built.rows[each.finding.split][each.place][0].image
            assert each.finding.message.startswith(f"{image}: ")


def test_nothing_is_found_in_the_same_rows_before_they_were_spoiled(tmp_path: Path):
    built = build(tmp_path / "root", FEW, PLANTS, repaired=True)
    report = built.opened(tmp_path / "checks", QUARANTINE).report()
    assert found_in(report) == []
    assert sum(account.used for account in report.accounts.values()) == sum(FEW.values()) + len(PLANTS)


CHECKS = {
    "check_words": (lambda words: [], {"text_nul", "text_surrogate", "text_zero_width", "text_right_to_left"}),
    "check_image": (lambda data: ([], None), {reason for reason in REASONS if reason.startswith("image_")}),
    "leaks": (lambda rows: [], {reason for reason in REASONS if "across" in reason or reason == "row_repeated"}),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_that_is_switched_off_finds_nothing_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    """So that each finding comes from the check that it is meant to come from."""
    off, reasons = CHECKS[name]
    built = build(tmp_path / "root", FEW, PLANTS)
    monkeypatch.setattr(dataset, name, off)
    left = {one[0] for one in found_in(built.opened(tmp_path / "checks", QUARANTINE).report())}
    # What the source and the archive find is found all the same: a surrogate in an id, a member that is damaged.
    assert left & reasons <= {"text_surrogate", "image_missing", "image_corrupt"}
    compared = CHECKS["leaks"][1]  # without its image a row is compared by its text alone
    assert {one[0] for one in built.expected()} - reasons - compared == left - reasons - compared


def test_rows_in_are_rows_used_and_rows_quarantined_each_under_its_reason(planted: Built, checked: DataSet):
    accounts = checked.report().accounts
    assert list(accounts) == list(SIZES)
    for split, account in accounts.items():
        lines = (planted.root / f"planted/{split}.jsonl").read_bytes().count(b"\n")
        reasons = Counter(plant.reason for _, plant in planted.rows[split] if plant is not None)
        assert account.rows == lines == SIZES[split] + reasons.total()
        assert account.used == SIZES[split]
        assert account.quarantined == dict(reasons)
        assert account.accepted == {}
    assert sum(sum(account.quarantined.values()) for account in accounts.values()) == len(PLANTS)


@pytest.mark.parametrize("split", SIZES)
def test_the_rows_used_are_the_good_ones_in_order_with_their_own_words_labels_and_images(
    planted: Built, checked: DataSet, split: str
):
    used, good = list(checked.read(split)), planted.good(split)
    assert [example.id for example in used] == [row.id for row in good]
    lines = {row.id: number for number, (row, plant) in enumerate(planted.rows[split], 1) if plant is None}
    for example, row in zip(used, good, strict=True):
        assert example.words == tuple(row.words)
        assert (example.image and example.image()) == row.content
        assert example.image_name == row.image
        assert example.group == row.group
        assert (example.file, example.row) == (f"planted/{split}.jsonl", lines[row.id])
        expected = {"mood": MOODS.index(row.mood), "names": tuple(map(TAGS.index, row.names)), "score": row.score}
        assert example.labels == ({} if split == "transfer" else expected)


def test_the_stored_report_is_the_same_report(planted: Built, checked: DataSet):
    again = planted.opened(planted.root.parent / "checks", QUARANTINE)
    assert again.report().dump() == checked.report().dump()
    assert [row.id for row in again.read("test")] == [row.id for row in planted.good("test")]


def test_by_default_the_data_is_refused_and_nothing_is_encoded(planted: Built, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("MMKD_DATA", str(planted.root))
    with pytest.raises(DataError) as caught:
        Mix({"planted": DataUse(card="planted")}, {}, planted.root.parent, tmp_path / "encoded")
    assert {path.name for path in (tmp_path / "encoded").iterdir()} == {"files", "checks"}
    text = str(caught.value)
    refused = [one for one in planted.expected() if REASONS[one[0]].policy == "refuse"]
    assert text.startswith(f"planted: {len(refused)} findings refuse the data; nothing was run")
    assert text.count("\nplanted/") == SHOWN
    assert f"... and {len(refused) - SHOWN} more; `mmkd data check planted --all` lists them" in text
    for reason, count in Counter(one[0] for one in refused).items():
        assert f"{count:>7,} {reason}: {REASONS[reason].meaning}" in text
    assert "policy: {REASON: quarantine}" in text


def test_by_default_what_is_accepted_is_used_and_counted(tmp_path: Path):
    """The account of a set in which nothing is refused: here what the card alone would let pass."""
    accepted = [
        plant for plant in PLANTS if {REASONS[each].policy for each in (plant.reason, *plant.also)} == {"accept"}
    ]
    built = build(tmp_path / "root", FEW, accepted)
    data = built.opened(tmp_path / "checks", {})
    data.report().require("planted")
    assert found_in(data.report()) == built.expected()
    for split, account in data.report().accounts.items():
        found = Counter(reason for _, plant in built.rows[split] if plant for reason in (plant.reason, *plant.also))
        assert (account.rows, account.used, account.quarantined) == (len(built.rows[split]), account.rows, {})
        assert account.accepted == dict(found)
        assert [example.id for example in data.read(split)] == [row.id for row, _ in built.rows[split]]
    assert sum(sum(account.accepted.values()) for account in data.report().accounts.values()) == len(built.expected())


def test_a_split_of_bad_rows_alone_is_empty_and_refused_whatever_the_policy(tmp_path: Path):
    bad = [plant for plant in PLANTS if plant.reason == "image_truncated"]
    built = build(tmp_path / "root", FEW | {"validation": 0}, [replace(plant, split="validation") for plant in bad])
    report = built.opened(tmp_path / "checks", QUARANTINE).report()
    (empty,) = [each for each in report.found if each.finding.reason not in QUARANTINE]
    assert (empty.finding.reason, empty.finding.split, empty.policy) == ("split_empty", "validation", "refuse")
    assert f"(quarantined: {len(bad)} image_truncated)" in empty.finding.message
    with pytest.raises(DataError, match="split_empty"):
        report.require("planted")


@pytest.mark.parametrize(("stated", "reasons"), [(3, []), (2, ["split_size"]), (4, ["split_size"])])
def test_another_number_of_rows_than_the_card_states_is_refused(tmp_path: Path, stated: int, reasons: list[str]):
    built = build(tmp_path / "root", FEW, [])
    changed = built.card.model_copy(update={"splits": FEW | {"validation": stated}})
    report = replace(built, card=changed).opened(tmp_path / "checks", QUARANTINE).report()
    assert [(each.finding.reason, each.finding.split) for each in report.found] == [
        (each, "validation") for each in reasons
    ]
    for each in report.found:
        assert f"found 3 rows; expected the {stated} that the card states" in str(each.finding)


def test_a_file_without_a_line_is_an_empty_split_of_another_size(tmp_path: Path):
    built = build(tmp_path / "root", FEW, [])
    (built.root / "planted/test.jsonl").write_bytes(b"")
    report = built.opened(tmp_path / "checks", QUARANTINE).report()
    assert [each.finding.reason for each in report.found] == ["split_size", "split_empty"]


def test_a_run_on_what_is_left_trains_and_its_record_accounts_for_every_row(tmp_path: Path, monkeypatch):
    sizes = {"train": 24, "validation": 12, "test": 12}
    built = build(tmp_path / "root", sizes, [plant for plant in PLANTS if plant.split != "transfer"])
    monkeypatch.setenv("MMKD_DATA", str(built.root))
    plain = tiny_project.student_alone(epochs=1)
    plain["data"] = {"planted": {"card": "planted", "policy": QUARANTINE}}
    plain["tasks"] = {"mood": {"kind": "classify"}, "names": {"kind": "tag"}}
    plain["losses"] = {name: {"kind": "supervised", "task": name} for name in plain["tasks"]}
    experiment, near = tiny_project.experiment(plain), tmp_path / "planted.yaml"
    said: list[str] = []
    (record,) = run_experiment(experiment, near, Progress(disable=True), "the command", say=said.append)
    assert record.rows.keys() == {f"planted/{split}" for split in sizes}
    for split, size in sizes.items():
        reasons = Counter(plant.reason for _, plant in built.rows[split] if plant is not None)
        account = record.rows[f"planted/{split}"]
        assert account == {
            "rows": size + reasons.total(),
            "used": size,
            "quarantined": dict(reasons),
            "accepted": {},
            "masked": {},
        }
        assert any(line.startswith(f"planted/{split}: {size + reasons.total()} rows = {size} used + ") for line in said)
    assert record.history[0]["rows"] == {"planted": 24}
    assert record.history[0]["labelled"] == {"mood": 24, "names": 24}
    assert {score.n for score in record.scores["test"]["mood"].values()} == {12}
    (folder,) = (tmp_path / "results" / "runs").glob("tiny-*")
    predicted = pq.read_table(folder / "seed0" / "predictions.parquet").to_pylist()
    assert {row["id"] for row in predicted} == {row.id for row in built.good("test")}

    refused = plain | {"data": {"planted": {"card": "planted"}}, "name": "refused"}
    with pytest.raises(DataError, match="findings refuse the data"):
        run_experiment(tiny_project.experiment(refused), near, Progress(disable=True), "the command", say=said.append)
    assert list((tmp_path / "results" / "runs").glob("refused-*")) == []
