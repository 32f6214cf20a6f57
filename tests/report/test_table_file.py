"""The table file: what is read, and that every mistake is named with its line."""

from pathlib import Path

import pytest

from mmkd.report.error import ReportError
from mmkd.report.table_file import CeilingRow, RunRow, ScoreColumn, ValueColumn
from mmkd.report.yaml_file import read_table_file

GOOD = """\
title: what distillation buys
rows:
  text teacher: {experiment: quickstart, role: teacher, teacher: text}
  alone: {experiment: alone}
  best: {ceiling: both, experiment: quickstart}
columns:
  NER: {score: ner.entity_f1}
  size: {value: parameters, unit: M, digits: 2}
seeds: [0, 1]
baseline: alone
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "table.yaml"
    path.write_text(text, "utf-8")
    return path


def test_reads_every_kind_of_row_and_column(tmp_path: Path) -> None:
    file = read_table_file(write(tmp_path, GOOD))
    assert list(file.rows.items()) == [
        ("text teacher", RunRow(experiment="quickstart", role="teacher", teacher="text")),
        ("alone", RunRow(experiment="alone")),
        ("best", CeilingRow(experiment="quickstart", ceiling="both")),
    ]
    assert list(file.columns.items()) == [
        ("NER", ScoreColumn(score="ner.entity_f1")),
        ("size", ValueColumn(value="parameters", unit="M", digits=2)),
    ]
    assert (file.split, file.seeds, file.baseline) == ("test", (0, 1), "alone")


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("seeds: [0, 1]", "sedes: [0, 1]", 9, "sedes: unknown key, expected one of .*did you mean `seeds`"),
        ("{experiment: alone}", "{experiment: alone, rol: student}", 4, "rows.alone.rol: unknown key.*`role`"),
        ("{experiment: alone}", "{experiment: ../alone}", 4, "rows.alone.experiment: .*found '../alone'"),
        ("role: teacher, teacher: text", "role: teacher", 3, "rows.text teacher: `role: teacher` goes with"),
        ("role: teacher, teacher: text", "teacher: text", 3, "rows.text teacher: .*`teacher` with `role: teacher`"),
        ("ceiling: both", "ceiling: all", 5, "rows.best.ceiling: .*'both'.*found 'all'"),
        (
            "{score: ner.entity_f1}",
            "{score: ner.entity_f1, value: parameters}",
            7,
            "exactly one of `score` and `value`",
        ),
        ("{score: ner.entity_f1}", "{digits: 1}", 7, "columns.NER: expected exactly one"),
        ("score: ner.entity_f1", "score: ner", 7, "columns.NER.score: .*found 'ner'"),
        ("unit: M", "unit: s", 8, "columns.size: `parameters` has no unit s: expected one of k, M"),
        ("digits: 2", "digits: '2'", 8, "columns.size.digits: .*integer.*found '2'"),
        ("  NER:", "  n:", 6, "columns: `n` is the number of runs"),
        ("  NER:", "  N`R:", 7, "columns.N`R: .*pattern"),
        ("  alone: {", "  NER: {score: a.b}\n  alone: {", 4, "rows.NER.*: "),
        ("seeds: [0, 1]", "seeds: [0, -1]", 9, "seeds.1: .*found -1"),
        ("seeds: [0, 1]", "seeds: [1, 1]", 9, "seeds: expected each seed once"),
        ("baseline: alone", "baseline: best", 10, "baseline: expected a student row, one of: alone, found 'best'"),
        ("baseline: alone", "baseline: alon", 10, "baseline: expected a student row, one of: alone, found 'alon'"),
        ("baseline: alone", "seeds: [0]", 10, "duplicate key.*each key once"),
        ("title: what", "title: [what", 2, "expected YAML 1.2"),
        ("title: what distillation buys\n", "", 1, "title: Field required"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ReportError, match=f"table.yaml:{line}: .*{words}"):
        read_table_file(path)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("ceiling: both", "ceiling: all").replace("digits: 2", "digits: -2"))
    with pytest.raises(ReportError) as error:
        read_table_file(path)
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["5", "8"]


@pytest.mark.parametrize("text", ["", "- a list\n"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ReportError, match=r"the file: .*dictionary"):
        read_table_file(write(tmp_path, text))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match=r"absent.yaml: cannot be read"):
        read_table_file(tmp_path / "absent.yaml")
