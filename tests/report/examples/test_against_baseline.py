"""Tests over examples in a table: their numbers by enumeration, what has none and why, and what is refused."""

import csv
import io
import itertools
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import pytest

from mmkd.record import RunRecord, Score, read_record, write_record
from mmkd.report.error import ReportError
from mmkd.report.render import to_csv, to_markdown
from mmkd.report.tables import check_tables, table_of, write_tables

MakeRecord = Callable[..., RunRecord]
WriteRecords = Callable[..., Path]
PredictClasses = Callable[..., list[dict[str, Any]]]
Build = Callable[..., tuple[str, dict[str, str]]]

FILE = """\
title: t
rows: {alone: {experiment: alone}, taught: {experiment: taught}}
columns:
  score: {score: SCORE}
baseline: alone
examples: true
"""
GOLD = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]
ALONE = (
    [1, 2, 0, 1, 2, 2, 0, 1, 2, 0, 1, 2],
    [1, 2, 0, 1, 1, 2, 0, 1, 2, 0, 1, 2],
    [1, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2],
)
TAUGHT = (
    [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 0],
    [0, 1, 2, 0, 2, 2, 0, 1, 2, 0, 1, 2],
    [0, 2, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2],
)


def accuracy(predicted: Sequence[int]) -> float:
    return sum(a == b for a, b in zip(GOLD, predicted, strict=True)) / len(GOLD)


def macro_f1(gold: Sequence[int], predicted: Sequence[int]) -> float:
    """By its definition, over the classes that occur."""
    values = []
    for one in sorted({*gold, *predicted}):
        right = sum(a == b == one for a, b in zip(gold, predicted, strict=True))
        values.append(2 * right / (list(gold).count(one) + list(predicted).count(one)))
    return fmean(values)


@pytest.fixture
def make(make_record: MakeRecord) -> MakeRecord:
    """A record of a task `sentiment` of the kind `classify`, with accuracy and other scores given."""

    def record(name: str, seed: int, predicted: Sequence[int], **changes: Any) -> RunRecord:
        scores = {"accuracy": accuracy(predicted), "macro_f1": macro_f1(GOLD, predicted), "ece": 0.1}
        tasks = {"tasks": {"sentiment": {"kind": "classify"}}}
        return make_record(name, seed, test={"sentiment": scores}, **{"experiment": tasks, **changes})

    return record


@pytest.fixture
def runs(make: MakeRecord, predict_classes: PredictClasses) -> dict[str, tuple[RunRecord, list[dict[str, Any]]]]:
    """Both networks of three seeds, name in the ledger -> record and rows of predictions."""
    found = {}
    for name, by_seed in (("alone", ALONE), ("taught", TAUGHT)):
        for seed, predicted in enumerate(by_seed):
            record = make(name, seed, predicted)
            found[record.file_name] = (record, predict_classes(GOLD, predicted))
    return found


@pytest.fixture
def build(write_ledger: WriteRecords, tmp_path: Path) -> Build:
    """The notes of a table of these runs, and the line of `taught` in its CSV file."""

    def table(runs: dict[str, tuple[RunRecord, list[dict[str, Any]]]], score: str, file: str = FILE) -> Any:
        shutil.rmtree(tmp_path / "records", ignore_errors=True)
        ledger = write_ledger(*(run[0] for run in runs.values()), rows={name: run[1] for name, run in runs.items()})
        (tmp_path / "main.yaml").write_text(file.replace("SCORE", score), "utf-8")
        found = table_of(tmp_path / "main.yaml", ledger)
        notes = to_markdown(found).partition("**Tests over examples**\n\n")[2].partition("\n\n")[0]
        return notes, next(row for row in csv.DictReader(io.StringIO(to_csv(found))) if row["row"] == "taught")

    return table


def end(differences: Sequence[int], level: float) -> tuple[float, float]:
    """Between which values that quantile of the mean of a resample may lie, for differences of -1, 0 or 1.

    From the exact distribution, four standard deviations of a share of 2000 draws to both sides.
    """
    shares = np.array([list(differences).count(value) for value in (-1, 0, 1)]) / len(differences)
    chances = np.ones(1)
    for _ in differences:
        chances = np.convolve(chances, shares)
    margin = 4 * (level * (1 - level) / 2000) ** 0.5
    places = np.searchsorted(np.cumsum(chances), [level - margin, level + margin])
    lowest, highest = (places - len(differences)) / len(differences)
    return float(lowest), float(highest)


def test_accuracy_has_mcnemars_test_of_each_seed(build: Build, runs: Any) -> None:
    """Right by one alone: 5 and 1, 4 and 1, 1 and 1, so that p is 2 * 7/64, 2 * 6/32 and 1."""
    notes, row = build(runs, "sentiment.accuracy")
    differences = [
        [(t == g) - (a == g) for g, a, t in zip(GOLD, alone, taught, strict=True)]
        for alone, taught in zip(ALONE, TAUGHT, strict=True)
    ]
    assert [(each.count(1), each.count(-1)) for each in differences] == [(5, 1), (4, 1), (1, 1)]
    for name, level in (("low", 0.025), ("high", 0.975)):
        lowest, highest = (median(ends) for ends in zip(*(end(each, level) for each in differences), strict=True))
        assert lowest - 1e-9 <= float(row[f"examples_{name}"]) <= highest + 1e-9
    assert (row["test_over_examples"], row["examples"], row["examples_seeds"]) == ("McNemar", "12", "0 1 2")
    assert float(row["examples_difference"]) == pytest.approx((4 + 3 + 0) / 36)
    assert [row[f"p_examples{name}"] for name in ("", "_lowest", "_highest")] == ["0.375", "0.21875", "1"]
    assert row["not_tested_over_examples"] == ""
    low, high = (float(row[f"examples_{name}"]) for name in ("low", "high"))
    assert notes.endswith(
        f"\n- taught, score: +19.4 (95% interval {100 * low:+.1f} to {100 * high:+.1f}), p = 0.375 (0.219 to 1.000), "
        "12 examples, n = 3 seeds, McNemar"
    )
    assert "row minus `alone`" in notes and "McNemar: exact" in notes and "randomisation" not in notes


def test_f1_has_approximate_randomisation(build: Build, runs: Any) -> None:
    """Against all swaps of the examples of which the networks say different things; the others change nothing."""
    notes, row = build(runs, "sentiment.macro_f1")
    p_values = []
    for alone, taught in zip(ALONE, TAUGHT, strict=True):
        observed = abs(macro_f1(GOLD, taught) - macro_f1(GOLD, alone))
        places = [i for i, (a, t) in enumerate(zip(alone, taught, strict=True)) if a != t]
        farther = 0
        for swaps in itertools.product((False, True), repeat=len(places)):
            one, other = list(taught), list(alone)
            for place in itertools.compress(places, swaps):
                one[place], other[place] = other[place], one[place]
            farther += abs(macro_f1(GOLD, one) - macro_f1(GOLD, other)) >= observed - 1e-12
        p_values.append(farther / 2 ** len(places))
    found = [float(row[f"p_examples{name}"]) for name in ("", "_lowest", "_highest")]
    assert found == pytest.approx([median(p_values), min(p_values), max(p_values)], abs=4 * 0.005)
    gains = [macro_f1(GOLD, t) - macro_f1(GOLD, a) for a, t in zip(ALONE, TAUGHT, strict=True)]
    assert float(row["examples_difference"]) == pytest.approx(fmean(gains))
    assert row["test_over_examples"] == "approximate randomisation"
    assert "9999 shuffles" in notes and "McNemar" not in notes


def test_seeds_that_both_have_are_tested(build: Build, runs: Any) -> None:
    del runs["alone/student-seed1.json"]
    notes, row = build(runs, "sentiment.accuracy")
    assert row["examples_seeds"] == "0 2" and "n = 2 seeds" in notes
    del runs["alone/student-seed2.json"]
    assert "n = 1 seed, McNemar" in build({k: v for k, v in runs.items() if k[-6] == "0"}, "sentiment.accuracy")[0]


def test_a_table_is_the_same_each_time(build: Build, runs: Any, tmp_path: Path) -> None:
    build(runs, "sentiment.macro_f1")
    tables = tmp_path / "tables"
    tables.mkdir()
    (tmp_path / "main.yaml").rename(tables / "main.yaml")
    write_tables(tables, tmp_path / "records", tables)
    assert check_tables(tables, tmp_path / "records") == []
    again = write_tables(tables, tmp_path / "records", tmp_path / "again")
    assert all(path.read_bytes() == (tables / path.name).read_bytes() for path in again)


def test_nothing_is_read_where_nothing_is_asked(build: Build, runs: Any) -> None:
    """The files of predictions hold no predictions here."""
    plain = {name: (record, None) for name, (record, _) in runs.items()}
    notes, row = build(plain, "sentiment.accuracy", FILE.replace("examples: true\n", ""))
    assert notes == "" and row["p_examples"] == row["not_tested_over_examples"] == ""
    with pytest.raises(ReportError, match=r"table main, row taught, column score: taught/student-seed0.json: .*cannot"):
        build(plain, "sentiment.accuracy")


def test_metrics_that_no_sum_gives_are_said(build: Build, runs: Any) -> None:
    notes, row = build(runs, "sentiment.ece")
    reason = "what an example adds to `ece` of a task of kind `classify` is not known here"
    assert notes == f"- taught, score: not tested: {reason}"
    assert row["not_tested_over_examples"] == reason and row["p_examples"] == row["examples"] == ""


def test_means_over_tasks_are_said(build: Build, runs: Any) -> None:
    notes, _ = build(runs, "mean_score")
    assert notes == "- taught, score: not tested: a mean over tasks, each of which has examples of its own"


def test_a_hidden_modality_is_said(build: Build, runs: Any) -> None:
    for name, (record, rows) in runs.items():
        scores = record.scores | {"test without image": record.scores["test"]}
        runs[name] = (record.model_copy(update={"scores": scores}), rows)
    notes, _ = build(runs, "sentiment.accuracy, without: image")
    assert notes == "- taught, score: not tested: predictions with the image hidden are not kept"


def test_runs_without_a_common_seed_are_said(build: Build, runs: Any) -> None:
    for name in ("alone/student-seed1.json", "alone/student-seed2.json", "taught/student-seed0.json"):
        del runs[name]
    assert build(runs, "sentiment.accuracy")[0] == "- taught, score: not tested: no seed that the baseline has too"


def test_metrics_of_unlike_tasks_are_said(build: Build, runs: Any) -> None:
    for name, (record, rows) in runs.items():
        if name.startswith("alone"):
            experiment = {"tasks": {"sentiment": {"kind": "multilabel"}}}
            runs[name] = (record.model_copy(update={"experiment": experiment}), rows)
    notes, _ = build(runs, "sentiment.macro_f1")
    assert "not tested: `macro_f1` of tasks of the kinds classify and multilabel is not the same metric" in notes


def test_runs_without_predictions_are_said(build: Build, runs: Any, tmp_path: Path) -> None:
    build(runs, "sentiment.accuracy")
    path = tmp_path / "records" / SEED1
    write_record(read_record(path).model_copy(update={"predictions": None}), path)
    path.with_suffix(".parquet").unlink()
    notes = to_markdown(table_of(tmp_path / "main.yaml", tmp_path / "records"))
    assert f"\n- taught, score: not tested: `{SEED1}` has no predictions\n" in notes


def test_one_example_is_said(build: Build, runs: Any) -> None:
    for name, (record, rows) in runs.items():
        right = Score(value=float(rows[0]["predictions"] == GOLD[0]), n=1)
        scores = {"test": {"sentiment": {"accuracy": right}}}
        runs[name] = (record.model_copy(update={"scores": scores}), rows[:1])
    notes, _ = build(runs, "sentiment.accuracy")
    assert notes == "- taught, score: not tested: one example, of at least 2 that a test needs"


TAGS = ("O", "B-PER", "I-PER")
WORDS = ([0, 1, 2], [1, 0, 1], [0, 0, 0], [1, 2, 2])
FOUND = {"alone": ([0, 1, 0], [1, 0, 0], [0, 0, 1], [1, 2, 2]), "taught": ([0, 1, 2], [1, 0, 1], [0, 0, 0], [1, 2, 0])}


@pytest.fixture
def tagged(make_record: MakeRecord) -> Callable[..., dict[str, tuple[RunRecord, list[dict[str, Any]]]]]:
    """Gold entities: 4. `alone` finds 4, 2 of them right: F1 4/8; `taught` finds 4, 3 of them right: F1 6/8."""

    def make(**labels: list[str]) -> dict[str, tuple[RunRecord, list[dict[str, Any]]]]:
        found = {}
        for name, value in (("alone", 4 / 8), ("taught", 6 / 8)):
            experiment = {"tasks": {"ner": {"kind": "tag"}}}
            record = make_record(name, test={"ner": {"entity_f1": value}}, experiment=experiment, labels=labels)
            own = {"task": "ner", "form": "classes"}
            rows = [
                {**own, "id": f"e{i}", "labels": np.array(a), "estimates": np.eye(3)[b], "predictions": np.array(b)}
                for i, (a, b) in enumerate(zip(WORDS, FOUND[name], strict=True))
            ]
            found[record.file_name] = (record, rows)
        return found

    return make


def test_entities_have_approximate_randomisation(build: Build, tagged: Any) -> None:
    """Of 16 swaps, those of an example keep its 4 gold entities and move right and found ones (right, found):

    examples 1, 2, 3, 4 of `taught` have (1, 1), (2, 2), (0, 0), (0, 1) and of `alone` (0, 1), (1, 1), (0, 1), (1, 1).
    """
    counts = [((1, 1), (0, 1)), ((2, 2), (1, 1)), ((0, 0), (0, 1)), ((0, 1), (1, 1))]
    farther = 0
    for swaps in itertools.product((0, 1), repeat=4):
        f1 = []
        for side in (0, 1):
            right, found = map(
                sum, zip(*(pair[side ^ swap] for pair, swap in zip(counts, swaps, strict=True)), strict=True)
            )
            f1.append(2 * right / (4 + found))
        farther += abs(f1[0] - f1[1]) >= 2 / 8 - 1e-12
    _, row = build(tagged(ner=list(TAGS)), "ner.entity_f1")
    assert float(row["examples_difference"]) == pytest.approx(2 / 8)
    assert float(row["p_examples"]) == pytest.approx(farther / 16, abs=4 * 0.005)


def test_entities_of_older_records_are_said(build: Build, tagged: Any) -> None:
    notes, _ = build(tagged(), "ner.entity_f1")
    assert notes == "- taught, score: not tested: label names are not in `taught/student-seed0.json`"


def refused(build: Build, runs: Any, score: str = "sentiment.accuracy", file: str = FILE) -> str:
    with pytest.raises(ReportError) as error:
        build(runs, score, file)
    return str(error.value)


SEED1 = "taught/student-seed1.json"
WHERE = f"table main, row taught, column score: {SEED1}"


def test_a_score_that_does_not_follow_is_refused(build: Build, runs: Any) -> None:
    record, rows = runs[SEED1]
    for value, fits in ((11 / 12, True), (11 / 12 + 1e-11, True), (11 / 12 + 1e-7, False)):
        scores = {"test": {"sentiment": {"accuracy": Score(value=value, n=12)}}}
        runs[SEED1] = (record.model_copy(update={"scores": scores}), rows)
        if fits:
            build(runs, "sentiment.accuracy")
        else:
            assert refused(build, runs) == (
                f"{WHERE} records sentiment.accuracy {value!r}, but {11 / 12!r} follows from its predictions; restore "
                "both, or run the experiment again"
            )


def test_a_score_of_the_baseline_that_does_not_follow_is_refused(build: Build, runs: Any) -> None:
    name = "alone/student-seed0.json"
    runs[name] = (runs[name][0], runs["alone/student-seed1.json"][1])
    assert "row taught, column score: alone/student-seed0.json records" in refused(build, runs)


def test_other_examples_are_refused(build: Build, runs: Any) -> None:
    record, rows = runs[SEED1]
    runs[SEED1] = (record, [*rows[:-1], rows[-1] | {"id": "x"}])
    words = "were not scored on the same labels: found the example e2 where the other has e11; run both again"
    assert re.search(rf"{WHERE} and alone/student-seed1.json {words}", refused(build, runs))


def test_other_labels_are_refused(build: Build, runs: Any, predict_classes: PredictClasses) -> None:
    record, _ = runs[SEED1]
    runs[SEED1] = (record, predict_classes([1, 0, *GOLD[2:]], [1, 0, *TAUGHT[1][2:]]))
    assert "found of example e0 the labels 1 and 0; run both again" in refused(build, runs)


def test_names_in_another_order_are_refused(build: Build, runs: Any) -> None:
    for name, (record, rows) in runs.items():
        labels = ["a", "b", "c"] if name.startswith("alone") else ["b", "a", "c"]
        runs[name] = (record.model_copy(update={"labels": {"sentiment": labels}}), rows)
    assert "found the classes b, a, c and a, b, c; run both" in refused(build, runs)


def test_predictions_without_the_task_are_refused(build: Build, runs: Any) -> None:
    record, rows = runs[SEED1]
    runs[SEED1] = (record, [row | {"task": "mood"} for row in rows])
    assert re.match(rf"{WHERE}: .*: found no predictions of `sentiment`", refused(build, runs))


@pytest.mark.parametrize("row", ["alone", "taught"])
def test_another_split_is_refused(build: Build, runs: Any, row: str) -> None:
    """The table shows validation, which the predictions of runs that were not tested are of."""
    for name, (record, rows) in runs.items():
        if not name.startswith(row):
            runs[name] = (record.model_copy(update={"scores": {"validation": record.scores["test"]}}), rows)
    file = FILE + "split: validation\n"
    assert refused(build, runs, file=file) == (
        f"table main, row {row}: the predictions of {row}/student-seed0.json are of test, expected validation, which "
        "the table shows; leave out `examples`, or show test"
    )


def test_validation_is_tested_where_it_was_last(build: Build, runs: Any) -> None:
    for name, (record, rows) in runs.items():
        runs[name] = (record.model_copy(update={"scores": {"validation": record.scores["test"]}}), rows)
    notes, row = build(runs, "sentiment.accuracy", FILE + "split: validation\n")
    assert "the same validation examples" in notes and row["p_examples"] == "0.375"
