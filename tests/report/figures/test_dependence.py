"""The figure of a score against a key: its points are the records' means, its gains are paired at equal values."""

from dataclasses import replace
from math import sqrt

import pytest

from mmkd.config.problems import ConfigError
from mmkd.config.section_file import load_section
from mmkd.report.error import ReportError
from mmkd.report.figures import dependence
from tests.report.conftest import MakeRecord
from tests.report.figures.test_figures import drawn, runs, t_interval

ALONE, TAUGHT = {0.2: (0.50, 0.54), 0.6: (0.51, 0.55)}, {0.2: (0.48, 0.53), 0.6: (0.58, 0.64)}


def figure_file(**changes) -> dependence.File:
    plain = {
        "kind": "dependence",
        "title": "t",
        "key": "data.notes.options.shared",
        "against": "what both share",
        "lines": {
            "alone": [{"experiment": "alone_2"}, {"experiment": "alone_6"}],
            "taught": [{"experiment": "taught_2"}, {"experiment": "taught_6"}],
        },
        "score": "ner.f1",
        "baseline": "alone",
        "ceilings": {"image": "best"},
    }
    return dependence.File.model_validate(plain | changes)


def stored(make: MakeRecord, **changes):
    found = []
    for name, line in (("alone", ALONE), ("taught", TAUGHT)):
        for at, values in line.items():
            fields = {
                "experiment": {"data": {"notes": {"options": {"shared": at}}}},
                "ceilings": {"ner": {"f1": {"image": 0.7 + at / 10}}},
            }
            found += runs(make, f"{name}_{round(10 * at)}", values, **(fields | changes))
    return found


def test_points_are_means_at_the_keys_values_and_gains_are_paired(make_record: MakeRecord) -> None:
    data = dependence.data(figure_file(), stored(make_record), "f")
    means = {(p.line, p.at): p.mean for p in data.scores}
    assert means == pytest.approx({("alone", 0.2): 52, ("alone", 0.6): 53, ("taught", 0.2): 50.5, ("taught", 0.6): 61})
    assert [(p.line, p.at) for p in data.gains] == [("taught", 0.2), ("taught", 0.6)]
    assert [p.mean for p in data.gains] == pytest.approx([-1.5, 8.0])
    assert (data.gains[1].low, data.gains[1].high) == pytest.approx(t_interval([7.0, 9.0]))
    # Of two values the standard deviation is their distance over the root of 2.
    first = next(p for p in data.scores if p.line == "alone")
    margin = 12.706204736 * (4 / sqrt(2)) / sqrt(2)
    assert (first.low, first.high) == pytest.approx((52 - margin, 52 + margin))
    assert data.ceilings == {"best": ((0.2, pytest.approx(72)), (0.6, pytest.approx(76)))}


def test_the_drawing_shows_these_numbers(make_record: MakeRecord) -> None:
    data = dependence.data(figure_file(), stored(make_record), "f")
    scores, gains = drawn(dependence, data).axes
    assert [list(line.get_ydata()) for line in scores.lines if line.get_label() == "best"] == [[72.0, 76.0]]
    heights = [list(line.get_ydata()) for line in gains.lines]
    assert [p.mean for p in data.gains] in heights
    assert gains.get_ylabel() == "gain over alone, points of %"


def test_long_words_at_the_axes_stay_in_the_figure(make_record: MakeRecord) -> None:
    data = dependence.data(figure_file(), stored(make_record), "f")
    words = "share of rows in which text and chart carry the sentiment"
    figure = drawn(dependence, replace(data, against=words, baseline="chart student alone"))
    for axes in figure.axes:
        for label in (axes.xaxis.label, axes.yaxis.label):
            inside = label.get_window_extent()
            assert inside.x0 >= 0 and inside.x1 <= figure.bbox.x1 and inside.y0 >= 0 and inside.y1 <= figure.bbox.y1


def test_a_gain_is_above_0_where_a_score_to_be_minimised_falls(make_record: MakeRecord) -> None:
    down = stored(make_record)
    for each in down:
        each.record.scores["test"]["ner"]["f1"] = each.record.scores["test"]["ner"]["f1"].model_copy(
            update={"direction": "minimize"}
        )
    assert [p.mean for p in dependence.data(figure_file(), down, "f").gains] == pytest.approx([1.5, -8.0])


def test_a_point_without_records_is_named_and_left_out(make_record: MakeRecord) -> None:
    some = [each for each in stored(make_record) if each.record.name != "taught_6"]
    data = dependence.data(figure_file(), some, "f")
    assert [(p.line, p.at) for p in data.gains] == [("taught", 0.2)]
    assert any("no record of experiment `taught_6`" in note for note in data.notes)
    nothing = dependence.data(figure_file(), [], "f")
    assert nothing.scores == () and drawn(dependence, nothing).axes[0].texts[0].get_text() == "nothing to show"


@pytest.mark.parametrize("experiment", [{}, {"data": {"notes": {"options": {"shared": True}}}}])
def test_a_key_that_is_no_number_is_refused(make_record: MakeRecord, experiment) -> None:
    with pytest.raises(ReportError, match=r"line alone: `data.notes.options.shared` of alone_2/.* expected a number"):
        dependence.data(figure_file(), stored(make_record, experiment=experiment), "f")


def test_a_baseline_that_is_no_line_is_refused(tmp_path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text(
        "kind: dependence\ntitle: t\nkey: a\nagainst: a\nscore: mean_score\nbaseline: other\n"
        "lines: {alone: [{experiment: a}]}\n",
        "utf-8",
    )
    with pytest.raises(ConfigError, match="found `other`; expected one of: alone"):
        load_section(path, dependence.File)
