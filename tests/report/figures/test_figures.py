"""Figures: their numbers are those of the records, what is missing is said, and what was tampered with is named."""

import json
import shutil
from dataclasses import replace
from math import sqrt
from pathlib import Path

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure
from pydantic import ValidationError
from scipy import stats

from mmkd.config.problems import ConfigError
from mmkd.record import Score
from mmkd.report.error import ReportError
from mmkd.report.figures import calibration, conflict, confusion, curves, gain, pareto, teachers, waterfall, weights
from mmkd.report.figures.base import Data
from mmkd.report.figures.kinds import KINDS, load_figure
from mmkd.report.figures.write import check_figures, write_figures
from mmkd.report.plot_style import SERIES, STYLE
from mmkd.report.records import StoredRecord, find_records
from tests.report.conftest import MakeRecord, WriteRecords

ROOT = Path(__file__).resolve().parents[3]
ROWS = {"base": {"experiment": "base"}, "new": {"experiment": "new"}}
BASE, NEW = (0.50, 0.52, 0.57), (0.55, 0.60, 0.56)


def put_away(record) -> StoredRecord:
    return StoredRecord(Path(record.file_name), record.file_name, record, None)


def runs(make: MakeRecord, name: str, values, **changes) -> list[StoredRecord]:
    made = (make(name, seed, test={"ner": {"f1": v}}, **changes) for seed, v in enumerate(values))
    return [put_away(record) for record in made]


def drawn(kind, data: Data) -> Figure:
    with matplotlib.rc_context(STYLE):
        figure = kind.draw(data)
        figure.draw_without_rendering()
    return figure


def t_interval(differences) -> tuple[float, float]:
    """By the textbook: mean ± t s / sqrt(n)."""
    n, mean = len(differences), sum(differences) / len(differences)
    s = sqrt(sum((d - mean) ** 2 for d in differences) / (n - 1))
    margin = stats.t.ppf(0.975, n - 1) * s / sqrt(n)
    return mean - margin, mean + margin


def gain_file(**changes) -> gain.File:
    plain = {"kind": "gain", "title": "t", "rows": ROWS, "baseline": "base", "scores": {"F1": "ner.f1"}}
    return gain.File.model_validate(plain | changes)


def test_a_gain_is_the_mean_over_the_seeds_that_both_have(make_record: MakeRecord) -> None:
    stored = runs(make_record, "base", (*BASE, 0.9)) + runs(make_record, "new", NEW)
    (found,) = gain.data(gain_file(), stored, "f").gains
    differences = [100 * (a - b) for a, b in zip(NEW, BASE, strict=True)]
    assert list(found.by_seed.values()) == pytest.approx(differences)
    assert (found.low, found.high) == pytest.approx(t_interval(differences))
    assert found.mean == pytest.approx(sum(differences) / 3)


def test_a_gain_is_above_0_where_a_score_to_be_minimised_falls(make_record: MakeRecord) -> None:
    down = {"directions": {"f1": "minimize"}}
    stored = runs(make_record, "base", BASE, **down) + runs(make_record, "new", [v - 0.1 for v in BASE], **down)
    (found,) = gain.data(gain_file(unit="as recorded"), stored, "f").gains
    assert found.mean == pytest.approx(0.1) and found.low is None  # equal differences: their spread is not known


def test_one_seed_has_a_gain_without_an_interval(make_record: MakeRecord) -> None:
    stored = runs(make_record, "base", BASE[:1]) + runs(make_record, "new", NEW[:1])
    data = gain.data(gain_file(), stored, "f")
    assert (data.gains[0].low, data.gains[0].high) == (None, None)
    assert drawn(gain, data).axes


def test_the_bar_and_the_mark_stand_where_the_numbers_say(make_record: MakeRecord) -> None:
    data = gain.data(gain_file(), runs(make_record, "base", BASE) + runs(make_record, "new", NEW), "f")
    lines = {line.get_label(): list(line.get_xdata()) for line in drawn(gain, data).axes[0].lines}
    (found,) = data.gains
    assert lines["_interval"] == [found.low, found.high] and lines["_mean"] == [found.mean]
    assert lines["_seeds"] == list(found.by_seed.values())


def test_of_one_score_the_rows_stand_beside_the_axis_and_of_several_the_scores(make_record: MakeRecord) -> None:
    stored = runs(make_record, "base", BASE) + runs(make_record, "new", NEW)
    (axes,) = drawn(gain, gain.data(gain_file(), stored, "f")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["new"] and axes.get_legend() is None
    assert axes.get_xlabel() == "gain in F1 ↑ over base, in points of %; to the right of 0 is better"
    both = {"F1": "ner.f1", "again": "ner.f1"}
    (axes,) = drawn(gain, gain.data(gain_file(scores=both), stored, "f")).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["F1 ↑", "again ↑"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["new"]


def test_rows_that_would_look_alike_are_refused() -> None:
    many = {"base": {"experiment": "base"}} | {f"row {n}": {"experiment": f"e{n}"} for n in range(len(SERIES) + 1)}
    assert gain_file(rows=many)
    with pytest.raises(
        ValidationError, match=f"several scores of {len(many)} rows: expected at most {len(many) - 1}, or one score"
    ):
        gain_file(rows=many, scores={"F1": "ner.f1", "again": "ner.f1"})


def test_a_row_without_records_is_named(make_record: MakeRecord) -> None:
    data = gain.data(gain_file(), runs(make_record, "base", BASE), "f")
    assert data.gains == ()
    assert any(n == "Missing: new: no record of experiment `new`" for n in data.notes)
    assert [text.get_text() for text in drawn(gain, data).axes[0].texts] == ["nothing to show"]


def test_no_seed_in_common_is_said(make_record: MakeRecord) -> None:
    other = [put_away(make_record("new", 7, test={"ner": {"f1": 0.5}}))]
    data = gain.data(gain_file(), runs(make_record, "base", BASE) + other, "f")
    assert data.gains == () and "Missing: new, F1: no seed that `base` has, too" in data.notes


def test_each_teacher_is_a_row_of_gains_and_two_teachers_are_refused(make_record: MakeRecord) -> None:
    file = teachers.File.model_validate(
        {
            "kind": "teachers",
            "title": "t",
            "rows": {"text": {"experiment": "new"}},
            "baseline": {"experiment": "base"},
            "scores": {"F1": "ner.f1"},
        }
    )
    base = runs(make_record, "base", BASE)
    data = teachers.data(file, base + runs(make_record, "new", NEW, experiment={"teachers": {"text": {}}}), "f")
    assert data.gains[0].mean == pytest.approx(100 * (sum(NEW) - sum(BASE)) / 3)
    assert drawn(teachers, data).axes[0].texts[0].get_text() == f"{data.gains[0].mean:+.1f}"
    both = runs(make_record, "new", NEW, experiment={"teachers": {"text": {}, "image": {}}})
    with pytest.raises(ReportError, match=r"row text: the students of `new` have 2 teachers \(text, image\)"):
        teachers.data(file, base + both, "f")


def test_a_step_is_the_paired_change_over_the_seeds_that_all_rows_have(make_record: MakeRecord) -> None:
    file = waterfall.File.model_validate({"kind": "waterfall", "title": "t", "rows": ROWS, "score": "ner.f1"})
    data = waterfall.data(file, runs(make_record, "base", (*BASE, 0.99)) + runs(make_record, "new", NEW), "f")
    first, second = data.steps
    assert (first.level, first.change) == (pytest.approx(100 * sum(BASE) / 3), None)
    assert second.change == pytest.approx(second.level - first.level)
    assert (second.low, second.high) == pytest.approx(
        t_interval([100 * (a - b) for a, b in zip(NEW, BASE, strict=True)])
    )
    assert drawn(waterfall, data).axes


@pytest.mark.parametrize(("direction", "front"), [("maximize", ["cheap", "good"]), ("minimize", ["cheap"])])
def test_the_front_holds_what_no_other_row_surpasses(direction, front) -> None:
    places = {"cheap": (1.0, 0.5), "good": (2.0, 0.6), "worse": (2.5, 0.6)}
    assert [row for row in places if pareto.is_on_front(row, places, direction)] == front


def test_costs_stand_in_their_unit(make_record: MakeRecord) -> None:
    file = pareto.File.model_validate(
        {
            "kind": "pareto",
            "title": "t",
            "rows": ROWS,
            "score": "ner.f1",
            "cost": {"value": "parameters", "unit": "k"},
        }
    )
    stored = runs(make_record, "base", BASE, parameters=2000) + runs(make_record, "new", NEW, parameters=5000)
    data = pareto.data(file, stored, "f")
    assert [(p.row, p.cost, p.on_front) for p in data.points] == [("base", 2.0, True), ("new", 5.0, True)]
    assert drawn(pareto, data).axes


@pytest.mark.parametrize("costs", [(10, 2000), (300, 700), (300, 400), (6e5, 2.8e6)])
def test_a_logarithmic_axis_has_numbers_and_no_formulas(costs: tuple[float, float]) -> None:
    points = tuple(pareto.Point(str(cost), cost, 1.0, None, None, True) for cost in costs)
    figure = drawn(pareto, pareto.ParetoData((), {}, "score", "cost", True, points))
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    shown = [tick.label1.get_text() for tick in axes.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    assert 2 <= len(shown) <= 8 and all(float(text) > 0 for text in shown)


def epochs(*values, rows: int = 1000, **more) -> list[dict]:
    return [
        {"epoch": i, "mean_score": v, "rows": {"a": rows}, "weights": {"ner": v, "risk": 1 - v}} | more
        for i, v in enumerate(values)
    ]


def histories(make: MakeRecord, *each) -> list[StoredRecord]:
    return [put_away(make("base", seed, history=history)) for seed, history in enumerate(each)]


def test_a_curve_is_mean_and_range_over_the_epochs_that_all_seeds_have(make_record: MakeRecord) -> None:
    plain = {"kind": "curves", "title": "t", "rows": {"base": ROWS["base"]}, "curves": {"mean": "mean_score"}}
    stored = histories(make_record, epochs(0.1, 0.3), epochs(0.3, 0.5, 0.9))
    data = curves.data(curves.File.model_validate(plain), stored, "f")
    (line,) = data.lines
    assert line.mean == pytest.approx((0.2, 0.4)) and line.low == (0.1, 0.3) and line.high == (0.3, 0.5)
    assert "mean, base: up to epoch 1, the last that all have; seed 1 on" in data.notes
    by_rows = curves.data(curves.File.model_validate(plain | {"over": "rows"}), stored, "f")
    assert by_rows.lines[0].x == (1.0, 2.0) and line.x == (0.0, 1.0)
    assert drawn(curves, data).axes


def test_a_number_that_an_epoch_lacks_is_missing_and_not_0(make_record: MakeRecord) -> None:
    plain = {"kind": "curves", "title": "t", "rows": {"base": ROWS["base"]}, "curves": {"ner": "terms.ner"}}
    stored = histories(make_record, epochs(0.1, terms={"ner": 1.0}), epochs(0.1))
    data = curves.data(curves.File.model_validate(plain), stored, "f")
    assert data.lines == ()
    assert data.notes == ("Missing: ner, base: no `terms.ner` in the history of some epochs of seed 1",)


def test_each_weight_is_a_line(make_record: MakeRecord) -> None:
    file = weights.File.model_validate({"kind": "weights", "title": "t", "rows": {"base": ROWS["base"]}})
    data = weights.data(file, histories(make_record, epochs(0.2, 0.4), epochs(0.4, 0.6)), "f")
    assert {line.label: line.mean for line in data.lines} == {
        "ner": pytest.approx((0.3, 0.5)),
        "risk": pytest.approx((0.7, 0.5)),
    }
    assert drawn(weights, data).axes


def test_cosines_are_means_over_the_looks_and_their_absence_is_said(make_record: MakeRecord) -> None:
    file = conflict.File.model_validate({"kind": "conflict", "title": "t", "rows": {"base": ROWS["base"]}})
    looks = [epochs(0.5, 0.5, diagnostics={"cosine": {"ner-risk": cosine}}) for cosine in (-0.2, 0.6)]
    data = conflict.data(file, histories(make_record, *looks), "f")
    (pair,) = data.pairs
    assert (pair.one, pair.other, pair.looks, pair.below) == ("ner", "risk", 4, 2)
    assert pair.cosine == pytest.approx(0.2)
    assert drawn(conflict, data).axes[0].texts[0].get_text() == "+0.20\n2 of 4"
    none = conflict.data(file, histories(make_record, epochs(0.5)), "f")
    assert none.pairs == () and none.notes == ("Missing: base: its history holds no cosine between two tasks",)


def test_a_change_that_rounds_to_nothing_has_no_minus(make_record: MakeRecord) -> None:
    file = conflict.File.model_validate({"kind": "conflict", "title": "t", "rows": {"base": ROWS["base"]}})
    history = epochs(0.5, diagnostics={"cosine": {"ner-risk": -0.002}})
    shown = drawn(conflict, conflict.data(file, histories(make_record, history), "f"))
    assert shown.axes[0].texts[0].get_text() == "+0.00\n1 of 1"


@pytest.fixture(scope="module")
def ledger() -> list[StoredRecord]:
    return find_records(ROOT / "results" / "records")


STUDENTS = {"distilled": {"experiment": "quickstart"}}


def test_the_calibration_error_is_the_score_of_the_records(ledger: list[StoredRecord]) -> None:
    file = calibration.File.model_validate({"kind": "calibration", "title": "t", "rows": STUDENTS, "task": "sentiment"})
    (panel,) = calibration.data(file, ledger, "f").panels
    recorded = {
        str(each.record.seed): each.record.scores["test"]["sentiment"]["ece"].value
        for each in ledger
        if each.record is not None and each.record.name == "quickstart" and each.record.role == "student"
    }
    assert panel.ece == pytest.approx(recorded, abs=1e-6)
    assert sum(each.n for each in panel.bins) == 5 * 1000


def test_the_confusion_has_the_accuracy_of_the_records(ledger: list[StoredRecord]) -> None:
    plain = {"kind": "confusion", "title": "t", "rows": STUDENTS, "task": "risk"}
    (panel,) = confusion.data(confusion.File.model_validate(plain), ledger, "f").panels
    counts = np.array(panel.counts)
    recorded = [
        each.record.scores["test"]["risk"]["accuracy"].value
        for each in ledger
        if each.record is not None and each.record.name == "quickstart" and each.record.role == "student"
    ]
    assert counts.trace() / counts.sum() == pytest.approx(sum(recorded) / 5)
    with pytest.raises(ReportError, match="`labels` has 3 names; expected one for each of 4"):
        confusion.data(confusion.File.model_validate(plain | {"labels": ["a", "b", "c"]}), ledger, "f")


def predictions(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([{"task": "risk", **row} for row in rows]), path)


def test_rows_of_the_confusion_are_labels_and_columns_predictions(make_record: MakeRecord, tmp_path: Path) -> None:
    record = make_record("base", predictions="0" * 64)
    stored = replace(put_away(record), path=tmp_path / "one.json")
    said = [(0, 1), (0, 1), (1, 1)]
    predictions(
        stored.predictions_path, [{"labels": [a], "predictions": [b], "probabilities": [0.5, 0.5]} for a, b in said]
    )
    file = confusion.File.model_validate(
        {"kind": "confusion", "title": "t", "rows": {"base": ROWS["base"]}, "task": "risk"}
    )
    assert confusion.data(file, [stored], "f").panels[0].counts == ((0, 2), (0, 1))
    several = [{"labels": [0, 1], "predictions": [0], "probabilities": [0.5, 0.5]}]
    predictions(stored.predictions_path, several)
    with pytest.raises(ReportError, match="any number of labels for an example"):
        confusion.data(file, [stored], "f")
    none = replace(stored, record=record.model_copy(update={"predictions": None}))
    assert confusion.data(file, [none], "f").notes == ("Missing: base, seed 0: no predictions of `risk`",)


def test_words_have_no_calibration(ledger: list[StoredRecord]) -> None:
    file = calibration.File.model_validate({"kind": "calibration", "title": "t", "rows": STUDENTS, "task": "ner"})
    with pytest.raises(ReportError, match="`ner` is over words"):
        calibration.data(file, ledger, "f")


GOOD = """\
kind: gain
title: t
rows:
  base: {experiment: base}
  new: {experiment: new}
baseline: base
scores: {F1: ner.f1}
"""


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("kind: gain", "kind: gian", 1, "gain"),
        ("baseline: base", "baseline: bass", 6, "expected one of: base, new"),
        ("{experiment: new}", "{experiment: new, role: teacher, teacher: t}", 3, "found a teacher in new"),
        ("scores:", "score:", 7, "score"),
    ],
)
def test_mistakes_are_named_with_their_line(old: str, new: str, line: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(GOOD.replace(old, new), "utf-8")
    with pytest.raises(ConfigError) as error:
        load_figure(path)
    assert any(f"f.yaml:{line}" in each and words in each for each in str(error.value).splitlines()), error.value


@pytest.fixture
def figures(tmp_path: Path, make_record: MakeRecord, write_ledger: WriteRecords) -> tuple[Path, Path]:
    """A folder with one drawn figure, and its ledger."""
    pairs = (("base", BASE), ("new", NEW))
    records = write_ledger(
        *(make_record(name, seed, test={"ner": {"f1": v}}) for name, values in pairs for seed, v in enumerate(values))
    )
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "f.yaml").write_text(GOOD, "utf-8")
    assert [path.suffix for path in write_figures(folder, records, folder)] == [".json", ".pdf", ".png"]
    assert check_figures(folder, records) == []
    return folder, records


def test_an_edited_number_is_named(figures: tuple[Path, Path]) -> None:
    folder, records = figures
    content = json.loads((folder / "f.json").read_text("utf-8"))
    content["gains"][0]["mean"] = 9.9
    (folder / "f.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")
    (problem,) = check_figures(folder, records)
    assert "f.json: gains[0].mean: found 9.9, but " in problem


def test_a_picture_of_other_numbers_is_named(figures: tuple[Path, Path], tmp_path: Path) -> None:
    folder, records = figures
    (folder / "f.yaml").write_text(GOOD.replace("F1:", "entity F1:"), "utf-8")
    write_figures(folder, records, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "f.json", folder / "f.json")
    problems = check_figures(folder, records)
    assert [problem.split(": ")[1] for problem in problems] == [
        "shows other numbers than follow from the records; make it with `mmkd figures`"
    ] * 2


@pytest.mark.parametrize("suffix", [".json", ".pdf", ".png"])
def test_a_lost_file_and_a_stray_one_are_named(figures: tuple[Path, Path], suffix: str) -> None:
    folder, records = figures
    (folder / f"f{suffix}").rename(folder / f"g{suffix}")
    lost, stray = check_figures(folder, records)
    assert f"f{suffix}: is missing" in lost and f"g{suffix}: has no figure file g.yaml" in stray


def test_a_record_that_was_changed_is_refused(figures: tuple[Path, Path]) -> None:
    folder, records = figures
    path = records / "base" / "student-seed0.json"
    path.write_text(path.read_text("utf-8").replace("0.5", "0.6", 1), "utf-8")
    (problem,) = check_figures(folder, records)
    assert str(path) in problem and "sha256" in problem


def test_every_kind_has_its_word() -> None:
    assert {kind.File.model_fields["kind"].annotation.__args__[0] for kind in KINDS.values()} == set(KINDS)
    assert all(kind.File.model_fields["kind"].annotation.__args__ == (word,) for word, kind in KINDS.items())


def test_a_score_of_another_split_is_not_taken(make_record: MakeRecord) -> None:
    stored = runs(make_record, "base", BASE) + runs(make_record, "new", NEW)
    for each in stored:
        assert each.record is not None
        each.record.scores["validation"] = {"ner": {"f1": Score(value=0.25, n=1)}}
    (found,) = gain.data(gain_file(split="validation"), stored, "f").gains
    assert found.mean == 0
