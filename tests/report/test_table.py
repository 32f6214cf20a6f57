"""Tables from synthetic records: numbers by hand, the best student, what is missing, and what is refused."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from scipy import stats

from mmkd.record import RunRecord, Selection
from mmkd.report.error import ReportError
from mmkd.report.render import to_csv, to_markdown
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile

MakeRecord = Callable[..., RunRecord]

ROWS = {"alone": {"experiment": "alone"}, "distilled": {"experiment": "quickstart"}}
NER = {"NER": {"score": "ner.entity_f1"}}
MEAN = {"mean": {"score": "mean_score"}}


def table(records: list[RunRecord], rows: Any = ROWS, columns: Any = NER, **keys: Any) -> Table:
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": columns} | keys)
    return build_table(records, file, "main")


def best(found: Table, column: str) -> list[str]:
    return [row.label for row in found.rows if row.cells[column].best]


def cell(found: Table, row: str, column: str) -> Any:
    return {each.label: each for each in found.rows}[row].cells[column]


def ner(value: float) -> dict[str, dict[str, float]]:
    return {"ner": {"entity_f1": value}}


def test_a_cell_by_hand(make_record: MakeRecord) -> None:
    records = [make_record(seed=seed, test=ner(value)) for seed, value in ((2, 0.6), (0, 0.5), (1, 0.7))]
    found = cell(table(records), "distilled", "NER")
    assert found.values == {0: 0.5, 1: 0.7, 2: 0.6}
    assert (found.summary.n, found.summary.mean, found.summary.std) == (3, pytest.approx(0.6), pytest.approx(0.1))
    assert found.sources == tuple(f"quickstart/student-seed{seed}.json" for seed in range(3))


def test_the_mean_is_over_first_metrics_and_missing_where_a_task_is(make_record: MakeRecord) -> None:
    scores = {"ner": {"entity_f1": 0.5, "accuracy": 0.99}, "risk": {"qwk": 0.9}}
    records = [make_record(test=scores), make_record("alone", test=ner(0.4))]
    found = table(records, columns=MEAN)
    assert cell(found, "distilled", "mean").summary.mean == pytest.approx(0.7)
    assert "no score `risk.qwk` on test in `alone/student-seed0.json`" in cell(found, "alone", "mean").missing


def test_a_mean_needs_first_metrics(make_record: MakeRecord) -> None:
    found = table([make_record(primary={})], columns=MEAN)
    assert cell(found, "distilled", "mean").missing == "no record names a first metric"


def test_values_of_the_record(make_record: MakeRecord) -> None:
    columns = {
        "size": {"value": "parameters"},
        "memory": {"value": "peak_memory"},
        "time": {"value": "seconds.train"},
        "other": {"value": "seconds.cache"},
    }
    found = table([make_record(seed=2)], columns=columns)
    numbers = [cell(found, "distilled", label).values for label in ("size", "memory", "time")]
    assert numbers == [{2: 1234567}, {2: 3 * 2**20}, {2: 63.5}]
    assert "no time of phase `cache`" in cell(found, "distilled", "other").missing


def test_teachers_have_rows_of_their_own(make_record: MakeRecord) -> None:
    rows = {"text": {"experiment": "quickstart", "role": "teacher", "teacher": "text"}}
    records = [make_record(teacher="text", test=ner(0.9)), make_record(teacher="texts", test=ner(0.1)), make_record()]
    found = table(records, rows=rows)
    assert cell(found, "text", "NER").values == {0: 0.9}
    assert best(found, "NER") == []
    assert len(found.records) == 1


def test_a_name_that_starts_alike_is_another_experiment(make_record: MakeRecord) -> None:
    rows = {"plain": {"experiment": "quick"}, "ceiling": {"experiment": "quick", "ceiling": "both"}}
    found = table([make_record("quickstart")], rows=rows)
    assert found.records == ()
    assert [cell(found, row, "NER").summary for row in rows] == [None, None]


def test_ceilings(make_record: MakeRecord) -> None:
    ceilings = {"ner": {"entity_f1": {"text": 0.8, "both": 0.9}}}
    rows = {label: {"experiment": "quickstart", "ceiling": label} for label in ("both", "image")}
    records = [make_record(test=ner(0.5), ceilings=ceilings), make_record(teacher="text", test=ner(0.5))]
    found = table(records, rows=rows, columns=NER | MEAN | {"size": {"value": "parameters"}})
    assert [cell(found, "both", label).values for label in ("NER", "mean")] == [{None: 0.9}, {None: 0.9}]
    assert cell(found, "both", "size").missing == "a ceiling is no network"
    assert "no ceiling of `ner.entity_f1` from image" in cell(found, "image", "NER").missing
    on_validation = table(records, rows=rows, split="validation")
    assert "test split only" in cell(on_validation, "both", "NER").missing


def test_ceilings_that_disagree_are_refused(make_record: MakeRecord) -> None:
    rows = {"ceiling": {"experiment": "quickstart", "ceiling": "both"}}
    records = [make_record(seed=s, ceilings={"ner": {"entity_f1": {"both": 0.8 + s / 10}}}) for s in (0, 1)]
    with pytest.raises(
        ReportError, match=r"row ceiling, column NER: .*0.8 in quickstart/student-seed0.*0.9 in .*seed1"
    ):
        table(records, rows=rows)


def test_the_best_is_decided_on_unrounded_numbers(make_record: MakeRecord) -> None:
    """Both show 70.0 in the table."""
    found = table([make_record(test=ner(0.70001)), make_record("alone", test=ner(0.70002))])
    assert best(found, "NER") == ["alone"]


def test_equal_students_are_both_best_and_teachers_never(make_record: MakeRecord) -> None:
    rows = ROWS | {"text": {"experiment": "quickstart", "role": "teacher", "teacher": "text"}}
    records = [make_record(), make_record("alone"), make_record(teacher="text")]
    assert best(table(records, rows=rows), "NER") == ["alone", "distilled"]


def test_the_smallest_is_best_where_the_metric_is_minimized(make_record: MakeRecord) -> None:
    records = [
        make_record(name, test={"risk": {"mae": value}}, directions={"mae": "minimize"})
        for name, value in (("quickstart", 0.3), ("alone", 0.4))
    ]
    columns = {"risk": {"score": "risk.mae"}, "size": {"value": "parameters"}}
    found = table(records, columns=columns)
    assert (best(found, "risk"), best(found, "size")) == (["distilled"], [])


def test_missing_experiments_and_seeds_name_the_command(make_record: MakeRecord) -> None:
    found = table([make_record(seed=0)], seeds=[0, 1])
    assert "no record of seed 1 of experiment `quickstart`" in cell(found, "distilled", "NER").missing
    assert "make it with `mmkd run experiments/alone.yaml 'seeds=[0,1]'`" in cell(found, "alone", "NER").missing
    assert "make it with `mmkd run experiments/quickstart.yaml 'seeds=[1]'`" in cell(found, "distilled", "NER").missing
    assert [row.n for row in found.rows] == [0, 1]
    assert cell(table([make_record(seed=0)], seeds=[0]), "distilled", "NER").missing is None


def test_comparisons_pair_by_seed(make_record: MakeRecord) -> None:
    distilled, alone = {0: 0.70, 1: 0.74, 2: 0.72, 7: 0.9}, {2: 0.66, 1: 0.69, 0: 0.61, 8: 0.1}
    records = [make_record(seed=s, test=ner(v)) for s, v in distilled.items()]
    records += [make_record("alone", seed=s, test=ner(v)) for s, v in alone.items()]
    (found,) = table(records, baseline="alone").comparisons
    expected = stats.ttest_rel([0.70, 0.74, 0.72], [0.61, 0.69, 0.66])
    assert (found.row, found.column, found.pairs) == ("distilled", "NER", 3)
    assert found.test is not None
    assert found.test.p == pytest.approx(expected.pvalue)
    assert found.p_holm == found.test.p


def test_holm_is_over_all_tests_of_the_table(make_record: MakeRecord) -> None:
    scores = {0: (0.70, 0.50), 1: (0.74, 0.56), 2: (0.72, 0.51)}
    records = [make_record(seed=s, test={"ner": {"f1": a}, "risk": {"qwk": b}}) for s, (a, b) in scores.items()]
    records += [make_record("alone", seed=s, test={"ner": {"f1": 0.7}, "risk": {"qwk": 0.5}}) for s in scores]
    columns = {"NER": {"score": "ner.f1"}, "risk": {"score": "risk.qwk"}}
    first, second = table(records, columns=columns, baseline="alone").comparisons
    assert first.test is not None and first.test.p is not None
    assert second.test is not None and second.test.p is not None
    low, high = sorted([first.test.p, second.test.p])
    assert first.p_holm is not None and second.p_holm is not None
    assert sorted([first.p_holm, second.p_holm]) == pytest.approx([2 * low, max(2 * low, high)])


def test_one_pair_gives_no_test(make_record: MakeRecord) -> None:
    (found,) = table([make_record(), make_record("alone")], baseline="alone").comparisons
    assert (found.pairs, found.test, found.p_holm) == (1, None, None)


def test_equal_differences_are_left_out_of_holm(make_record: MakeRecord) -> None:
    records = [make_record(n, seed=s) for n in ("quickstart", "alone") for s in (0, 1)]
    (found,) = table(records, baseline="alone").comparisons
    assert found.test is not None
    assert (found.test.difference, found.test.p, found.p_holm) == (0.0, None, None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": {"market_notes": "0ther"}}, "mixed data: .*seed0.json ran on market_notes da7a.*seed1.*0ther"),
        ({"selection": Selection(epoch=1, value=0.5, metric="ner.entity_f1")}, "mixed selection: .*ner.entity_f1"),
        ({"selection": Selection(epoch=1, value=0.5, direction="minimize")}, "mixed selection: .*minimize"),
        ({"experiment_hash": "0ther"}, "different experiments that are both named quickstart: .*seed0.*seed1.*0ther"),
    ],
)
def test_records_that_do_not_belong_together_are_refused(
    make_record: MakeRecord, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ReportError, match=f"table main, row distilled, every column: .*{words}"):
        table([make_record(seed=0), make_record(seed=1, **changes)])


def test_epochs_and_machines_may_differ_within_a_row(make_record: MakeRecord) -> None:
    other = make_record(seed=1, selection=Selection(epoch=9, value=0.1), peak_memory=1, created="2027-01-01")
    assert cell(table([make_record(seed=0), other]), "distilled", "NER").summary.n == 2


def test_two_records_of_one_name_are_refused(make_record: MakeRecord) -> None:
    with pytest.raises(
        ReportError, match=r"row distilled, every column: found two records quickstart/student-seed0.json"
    ):
        table([make_record(), make_record(test=ner(0.9))])


def test_mixed_directions_are_refused(make_record: MakeRecord) -> None:
    records = [make_record(), make_record("alone", directions={"entity_f1": "minimize"})]
    with pytest.raises(ReportError, match=r"column NER: mixed directions: .*alone/student-seed0.json"):
        table(records)


def test_a_mean_over_unlike_metrics_is_refused(make_record: MakeRecord) -> None:
    records = [make_record(test=ner(0.5)), make_record("alone", test={"ner": {"accuracy": 0.9}})]
    with pytest.raises(ReportError, match=r"row distilled, column mean: .*accuracy in alone.*entity_f1 in quickstart"):
        table(records, columns=MEAN)
    assert table(records).rows


def test_faults_of_experiments_that_are_not_shown_do_not_matter(make_record: MakeRecord) -> None:
    others = [make_record("other"), make_record("other", experiment_hash="0ther")]
    assert len(table([make_record(), *others]).records) == 1


def test_a_quoted_row_stands_beside_ours_and_is_compared_with_nothing(make_record: MakeRecord) -> None:
    records = [make_record("alone", seed, test=ner(0.5 + seed / 100)) for seed in range(2)]
    records += [make_record(seed=seed, test=ner(0.6 + seed / 50)) for seed in range(2)]
    rows = ROWS | {"BERT": {"quoted": {"NER": 91.25}, "source": "Author 2020, table 3; another split"}}
    columns = NER | {"error": {"score": "ner.entity_f1", "unit": "as recorded"}, "size": {"value": "parameters"}}
    found = table(records, rows, columns, baseline="alone")
    assert cell(found, "BERT", "NER").values == {None: 0.9125}
    assert [cell(found, "BERT", column).missing for column in ("error", "size")] == ["not quoted", "not quoted"]
    assert best(found, "NER") == ["distilled"]  # of ours
    assert {each.row for each in found.comparisons} == {"distilled"}
    text = to_markdown(found)
    assert "**Quoted**\n\n- BERT: Author 2020, table 3; another split\n" in text
    assert re.search(r"\| BERT +\| +91\.2 \| +– \| +– \| +\|\n", text)
    assert "BERT,NER,,ner.entity_f1,test,maximize,,0.9125," in to_csv(found)


@pytest.mark.parametrize("column", ["NERR", "size"])
def test_only_score_columns_can_be_quoted(column: str) -> None:
    rows = ROWS | {"BERT": {"quoted": {column: 91.2}, "source": "s"}}
    with pytest.raises(ValueError, match=f"row BERT quotes `{column}`, which is no score column"):
        TableFile.model_validate({"title": "t", "rows": rows, "columns": NER | {"size": {"value": "parameters"}}})
