"""Rows by the values of an experiment's keys: which records they select, and several experiments of one name."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmkd.record import Code, RunRecord
from mmkd.report.error import ReportError
from mmkd.report.keep import keep
from mmkd.report.records import find_records, load_records
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile
from mmkd.report.variants import as_variant, value_text

MakeRecord = Callable[..., RunRecord]
WriteRecords = Callable[..., Path]
Variant = Callable[..., RunRecord]

KEY = "losses.text_ner.temperature"


@pytest.fixture
def variant(make_record: MakeRecord) -> Variant:
    """A record of a temperature and a learning rate; its hash tells which."""

    def make(temperature: Any, score: float, seed: int = 0, lr: float = 0.001, **changes: Any) -> RunRecord:
        losses = {} if temperature is None else {"text_ner": {"temperature": temperature}}
        experiment = {"name": "quickstart", "losses": losses, "train": {"lr": lr}, "seeds": [seed]}
        name = changes.pop("hash", f"{temperature}-{lr}".ljust(64, "-"))
        test = {"ner": {"entity_f1": score}}
        return make_record(seed=seed, test=test, experiment=experiment, experiment_hash=name, **changes)

    return make


def table(records: list[RunRecord], rows: Any, **keys: Any) -> Table:
    file = {"title": "t", "rows": rows, "columns": {"NER": {"score": "ner.entity_f1"}}} | keys
    return build_table(records, TableFile.model_validate(file), "main")


def scores(found: Table) -> dict[str, list[float]]:
    return {row.label: list(row.cells["NER"].values.values()) for row in found.rows}


def of(records: list[RunRecord], own: int = 0) -> list[RunRecord]:
    """All but one of them as variants."""
    return [record if i == own else as_variant(record) for i, record in enumerate(records)]


def test_a_name_alone_is_its_own_experiment(variant: Variant) -> None:
    records = of([variant(2.0, 0.5), variant(4.0, 0.6), variant(8.0, 0.7)], own=1)
    assert scores(table(records, {"it": {"experiment": "quickstart"}})) == {"it": [0.6]}


def test_a_row_selects_by_values(variant: Variant) -> None:
    records = of([variant(2.0, 0.5), variant(4.0, 0.6), variant(4.0, 0.65, seed=1)])
    found = table(records, {"hot": {"experiment": "quickstart", "where": {KEY: 4}}})
    assert scores(found) == {"hot": [0.6, 0.65]}
    folder = "quickstart/4.0-0.00"
    assert found.rows[0].cells["NER"].sources == (f"{folder}/student-seed0.json", f"{folder}/student-seed1.json")
    assert len(found.records) == 2


def test_the_names_own_experiment_is_selected_too(variant: Variant) -> None:
    rows = {"hot": {"experiment": "quickstart", "where": {KEY: 2.0}}}
    assert scores(table(of([variant(2.0, 0.5), variant(4.0, 0.6)]), rows)) == {"hot": [0.5]}


def test_true_is_not_one_and_null_is_an_absent_key(variant: Variant) -> None:
    records = of([variant(1, 0.5), variant(True, 0.6), variant(None, 0.7)])
    rows = {name: {"experiment": "quickstart", "where": {KEY: value}} for name, value in (("1", 1), ("none", None))}
    assert scores(table(records, rows)) == {"1": [0.5], "none": [0.7]}


def test_a_row_for_each_value_in_their_order(variant: Variant) -> None:
    records = of([variant(t, s) for t, s in ((10.0, 0.3), (2.0, 0.1), (0.5, 0.05), ("none", 0.4), (None, 0.9))])
    found = table(records, {"T": {"experiment": "quickstart", "vary": KEY}})
    assert list(scores(found).items()) == [("T 0.5", [0.05]), ("T 2", [0.1]), ("T 10", [0.3]), ("T none", [0.4])]


def test_varied_rows_have_groups_and_a_baseline(variant: Variant) -> None:
    records = of([variant(t, s + seed / 9, seed=seed) for t, s in ((4.0, 0.3), (2.0, 0.1)) for seed in (0, 1)])
    records = [record if record.experiment_hash.startswith("4") else as_variant(record) for record in records]
    rows = {"T": {"experiment": "quickstart", "vary": KEY}, "it": {"experiment": "quickstart"}}
    found = table(records, rows, groups={"Temperature": ["T"]}, baseline="T 2")
    assert [(title, [row.label for row in block]) for title, block in found.blocks()] == [
        (None, ["it"]),
        ("Temperature", ["T 2", "T 4"]),
    ]
    assert {each.row for each in found.comparisons} == {"T 4", "it"}
    with pytest.raises(ReportError, match=r"table main, baseline: found no row `T 3`; expected one of: T 2, T 4, it"):
        table(records, rows, baseline="T 3")


def test_experiments_that_a_row_cannot_tell_apart_are_refused_with_the_keys(variant: Variant) -> None:
    records = of([variant(2.0, 0.5, lr=0.1), variant(4.0, 0.6, lr=0.01), variant(4.0, 0.7)])
    rows = {"T": {"experiment": "quickstart", "vary": KEY}}
    words = r"row T 4, every column: several experiments fit: .*differ in `train.lr` \(0.001 and 0.01\); expected one"
    with pytest.raises(ReportError, match=words):
        table(records, rows)
    rows["T"]["where"] = {"train.lr": 0.01}
    assert scores(table(records, rows)) == {"T 4": [0.6]}


def test_a_key_that_no_record_has_is_refused(variant: Variant) -> None:
    rows = {"T": {"experiment": "quickstart", "vary": "losses.text_ner.temprature"}}
    with pytest.raises(ReportError, match=rf"row T: .*no key `losses.text_ner.temprature`.*did you mean `{KEY}`"):
        table([variant(2.0, 0.5)], rows)


def test_one_label_for_two_rows_is_refused(variant: Variant) -> None:
    rows = {"T 2": {"experiment": "quickstart"}, "T": {"experiment": "quickstart", "vary": KEY}}
    with pytest.raises(ReportError, match="row T 2: found twice"):
        table([variant(2.0, 0.5)], rows)


def test_what_no_run_has_yet_is_missing_with_its_command(variant: Variant) -> None:
    rows = {
        "hot": {"experiment": "quickstart", "where": {KEY: 8, "weighting.kind": "rlw"}},
        "T": {"experiment": "other", "vary": KEY},
    }
    found = table([variant(2.0, 0.5, command="mmkd run papers/q.yaml train.lr=0.001")], rows, seeds=[3])
    assert [row.cells["NER"].fill for row in found.rows] == [
        f"mmkd run papers/q.yaml {KEY}=8 'weighting.kind=\"rlw\"' 'seeds=[3]'",
        "mmkd run experiments/other.yaml 'seeds=[3]'",
    ]


def test_a_missing_seed_is_run_with_the_overrides_of_the_others(variant: Variant) -> None:
    records = of([variant(2.0, 0.5), variant(4.0, 0.6, command=f"mmkd run q.yaml {KEY}=4 'seeds=[0,1]'")])
    rows = {"hot": {"experiment": "quickstart", "where": {KEY: 4}}}
    (row,) = table(records, rows, seeds=[0, 3]).rows
    assert row.cells["NER"].fill == f"mmkd run q.yaml {KEY}=4 'seeds=[3]'"


@pytest.mark.parametrize(
    "command", ["mmkd soup a b --name x", "mmkd run --verify r.json", "mmkd run 'a", "python a.py"]
)
def test_a_command_that_makes_no_seed_is_not_given(variant: Variant, command: str) -> None:
    rows = {"it": {"experiment": "quickstart"}}
    (row,) = table([variant(2.0, 0.5, command=command)], rows, seeds=[1]).rows
    assert row.cells["NER"].fill == "mmkd run experiments/quickstart.yaml 'seeds=[1]'"


def test_teachers_and_ceilings(variant: Variant, make_record: MakeRecord) -> None:
    records = [
        variant(2.0, 0.5, ceilings={"ner": {"entity_f1": {"both": 0.9}}}),
        as_variant(variant(4.0, 0.6, ceilings={"ner": {"entity_f1": {"both": 0.8}}})),
        as_variant(variant(4.0, 0.7, teacher="text")),
    ]
    rows = {
        "best": {"experiment": "quickstart", "ceiling": "both"},
        "T": {"experiment": "quickstart", "role": "teacher", "teacher": "text", "vary": KEY},
    }
    assert scores(table(records, rows)) == {"best": [0.9], "T 4": [0.7]}


def test_scratch_runs_hold_variants_beside_the_latest(variant: Variant, write_runs: WriteRecords) -> None:
    runs = write_runs(
        variant(4.0, 0.6, created="2026-11-01"),
        variant(4.0, 0.61, created="2026-11-02"),
        variant(2.0, 0.5, created="2026-11-03"),
    )
    rows = {"it": {"experiment": "quickstart"}, "hot": {"experiment": "quickstart", "where": {KEY: 4}}}
    assert scores(table(load_records(runs), rows)) == {"it": [0.5], "hot": [0.61]}


def test_the_ledger_keeps_variants_on_request(variant: Variant, write_runs: WriteRecords, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    first = write_runs(variant(2.0, 0.5, created="2026-11-01"))
    assert [path.name for path in keep(first, ledger)] == ["student-seed0.json"]
    runs = write_runs(variant(4.0, 0.6, created="2026-11-02"))
    with pytest.raises(ReportError, match="holds another record"):
        keep(runs, ledger)
    assert keep(runs, ledger, variants=True) == [ledger / "quickstart" / "4.0-0.00" / "student-seed0.json"]
    assert keep(runs, ledger, variants=True) == []
    rows = {"it": {"experiment": "quickstart"}, "T": {"experiment": "quickstart", "vary": KEY}}
    assert scores(table(load_records(ledger), rows)) == {"it": [0.5], "T 2": [0.5], "T 4": [0.6]}


def test_a_first_keep_gives_the_latest_the_name(variant: Variant, write_runs: WriteRecords, tmp_path: Path) -> None:
    runs = write_runs(variant(2.0, 0.5, created="2026-11-01"), variant(4.0, 0.6, created="2026-11-02"))
    keep(runs, tmp_path / "ledger", variants=True)
    names = [each.name for each in find_records(tmp_path / "ledger")]
    assert names == ["quickstart/2.0-0.00/student-seed0.json", "quickstart/student-seed0.json"]


def test_dirty_variants_are_refused_only_when_asked_for(
    variant: Variant, write_runs: WriteRecords, tmp_path: Path
) -> None:
    dirty = Code(version="0.1.0", commit="beef" * 10, diff="d1ff" * 16)
    runs = write_runs(variant(2.0, 0.5, created="2026-11-09"), variant(4.0, 0.6, created="2026-11-02", code=dirty))
    assert len(keep(runs, tmp_path / "ledger")) == 1
    with pytest.raises(ReportError, match="uncommitted changes"):
        keep(runs, tmp_path / "ledger", variants=True)


def test_a_variant_in_anothers_folder_is_a_fault(variant: Variant, write_ledger: WriteRecords) -> None:
    ledger = write_ledger(as_variant(variant(4.0, 0.6)))
    (ledger / "quickstart" / "4.0-0.00").rename(ledger / "quickstart" / "8.0-0.00")
    (found,) = find_records(ledger)
    assert found.fault == (
        "it is the record quickstart/4.0-0.00/student-seed0.json, found under another name; keep it again with "
        "`mmkd keep`"
    )


def test_one_run_twice_is_refused(variant: Variant) -> None:
    one = variant(4.0, 0.6)
    rows = {"hot": {"experiment": "quickstart", "where": {KEY: 4}}}
    with pytest.raises(ReportError, match="row hot, every column: found two records of seed 0"):
        table([one, as_variant(one)], rows)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (4.0, "4"),
        (0.5, "0.5"),
        (3, "3"),
        (True, "true"),
        ("a`b", "a'b"),
        ({"kind": "x"}, '{"kind": "x"}'),
        (1e300, "1e+300"),
    ],
)
def test_values_in_labels(value: Any, text: str) -> None:
    assert value_text(value) == text
