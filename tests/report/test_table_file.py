"""The table file: what is read, and that every mistake is named with its line."""

import re
from pathlib import Path

import pytest

from mmkd.config.problems import ConfigError
from mmkd.config.section_file import load_section
from mmkd.report.table_file import CeilingRow, RunRow, ScoreColumn, TableFile, ValueColumn, VaryRow

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
    file = load_section(write(tmp_path, GOOD), TableFile)
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
        (
            "seeds: [0, 1]",
            "sedes: [0, 1]",
            9,
            "sedes: unknown key `sedes`; expected one of title, .*did you mean `seeds`",
        ),
        (
            "{experiment: alone}",
            "{experiment: alone, rol: student}",
            4,
            "rows.alone.rol: unknown key.*one of experiment, role, teacher, where; did.*`role`",
        ),
        (
            "{experiment: alone}",
            "{experiment: ../alone}",
            4,
            'rows.alone.experiment: found "../alone".*; expected a letter',
        ),
        ("role: teacher, teacher: text", "role: teacher", 3, "rows.text teacher: `role: teacher` goes with"),
        ("role: teacher, teacher: text", "teacher: text", 3, "rows.text teacher: .*`teacher` with `role: teacher`"),
        ("ceiling: both", "ceiling: all", 5, 'rows.best.ceiling: found "all".*; expected one of text, image, both'),
        (
            "{score: ner.entity_f1}",
            "{score: ner.entity_f1, value: parameters}",
            7,
            "exactly one of `score` and `value`",
        ),
        ("ceiling: both", "ceiling: both, rol: x", 5, "rows.best.rol: unknown key.*one of experiment, ceiling$"),
        (
            "{experiment: alone}",
            "3",
            4,
            "rows.alone: found 3; expected .*role, teacher, where.*ceiling, or .*quoted, source$",
        ),
        ("{score: ner.entity_f1}", "3", 7, "columns.NER: found 3; expected exactly one"),
        ("{score: ner.entity_f1}", "{digits: 1}", 7, "columns.NER: expected exactly one"),
        (
            "score: ner.entity_f1",
            "score: ner",
            7,
            'columns.NER.score: found "ner".*; expected text that matches .*mean_score',
        ),
        ("unit: M", "unit: s", 8, "columns.size: `parameters` has no unit s: expected one of k, M"),
        ("unit: M", "unit: Q", 8, "columns.size.unit: found .*expected one of k, M, G, MiB, GiB, s, min, h, or null"),
        ("digits: 2", "digts: 2", 8, "columns.size.digts: .*one of value, unit, digits, delta; did you mean `digits`"),
        ("digits: 2", "digits: '2'", 8, 'columns.size.digits: found "2" .text.; expected an integer of at least 0'),
        ("  NER:", "  n:", 6, "columns: `n` is the number of runs"),
        ("  NER:", "  N`R:", 7, "columns.N`R: found the name `N`R`; expected one line of text without backticks"),
        ("  alone: {", "  NER: {score: a.b}\n  alone: {", 4, "rows.NER.experiment: missing; expected"),
        ("seeds: [0, 1]", "seeds: [0, -1]", 9, "seeds.1: found -1; expected an integer of at least 0"),
        ("seeds: [0, 1]", "seeds: [1, 1]", 9, r"seeds: found \[1, 1\]; expected each seed once"),
        ("baseline: alone", "baseline: best", 10, 'baseline: found "best".*; expected a student row, one of: alone'),
        ("baseline: alone", "baseline: alon", 10, 'baseline: found "alon".*; expected a student row, one of: alone'),
        (
            "baseline: alone",
            "seeds: [0]",
            10,
            "seeds: found the key a second time, first at .*table.yaml:9; expected it once",
        ),
        ("baseline: alone", "examples: true", 1, "`examples` tests against the row that `baseline` names; found no"),
        ("baseline: alone", "tested: [NER]", 1, "`tested` says where rows are tested against `baseline`; found no"),
        ("seeds: [0, 1]", "tested: [size]", 9, "tested: found `size`, which is no score column"),
        ("seeds: [0, 1]", "tested: [NRE]", 9, "tested: found `NRE`, which is no score column; did you mean `NER`"),
        ("seeds: [0, 1]", "tested: []", 9, "tested: found .*; expected .*at least 1"),
        ("title: what", "title: [what", 2, "not YAML: .*expected ','"),
        ("title: what distillation buys\n", "", 1, "title: missing; expected one line of text"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in GOOD
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ConfigError, match=f"(?m)table.yaml:{line}: .*{words}"):
        load_section(path, TableFile)


def test_all_mistakes_are_reported_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("ceiling: both", "ceiling: all").replace("digits: 2", "digits: -2"))
    with pytest.raises(ConfigError) as error:
        load_section(path, TableFile)
    assert [line.split(":")[1] for line in str(error.value).splitlines()] == ["5", "8"]


@pytest.mark.parametrize(("text", "words"), [("", "the file is empty"), ("- a list\n", r"expected .*\(a map\)")])
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=rf"table\.yaml:1: {words}"):
        load_section(write(tmp_path, text), TableFile)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"absent.yaml: cannot be read"):
        load_section(tmp_path / "absent.yaml", TableFile)


GROUPED = """\
title: temperatures
rows:
  text teacher: {experiment: quickstart, role: teacher, teacher: text}
  T: {experiment: quickstart, vary: losses.text_ner.temperature, where: {train.lr: 0.001}}
  alone: {experiment: alone, where: {student.fusion: mlp, losses.crd: null}}
groups: {Students: [T, alone]}
columns:
  NER: {score: ner.entity_f1, delta: false}
  operations: {value: flops, unit: G}
  cost: {value: seconds, unit: h}
baseline: T 2
delta: true
"""


def test_reads_rows_by_value_groups_and_differences(tmp_path: Path) -> None:
    file = load_section(write(tmp_path, GROUPED), TableFile)
    key = "losses.text_ner.temperature"
    assert file.rows["T"] == VaryRow(experiment="quickstart", vary=key, where={"train.lr": 0.001})
    assert file.rows["alone"] == RunRow(experiment="alone", where={"student.fusion": "mlp", "losses.crd": None})
    assert file.blocks() == [(None, ("text teacher",)), ("Students", ("T", "alone"))]
    assert [file.shows_delta(column) for column in file.columns] == [False, True, True]


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("[T, alone]", "[T, alon]", 6, "groups: Students: found `alon`, which is no row; did you mean `alone`"),
        ("[T, alone]", "[T, alone, T]", 6, "groups: Students: found `T` twice; expected each row in one group"),
        ("[T, alone]", "[]", 6, "groups.Students: "),
        ("baseline: T 2", "baseline: T", 11, "expected a student row, one of: T VALUE, alone"),
        ("baseline: T 2", "baseline: text teacher", 11, "expected a student row, one of: T VALUE, alone"),
        ("baseline: T 2\n", "", 1, "`delta` is a difference to the row that `baseline` names; found no baseline"),
        ("vary: losses.text_ner.temperature", "vary: losses.", 4, "rows.T.vary: found .*a.b.c"),
        ("vary:", "varie:", 4, "rows.T.varie: unknown key"),
        ("unit: G", "unit: h", 9, "columns.operations: `flops` has no unit h: expected one of k, M, G"),
        ("value: seconds", "value: seconds.", 10, "columns.cost.value: found"),
    ],
)
def test_a_mistake_of_a_row_by_value_or_a_group_is_named(
    tmp_path: Path, old: str, new: str, line: int, words: str
) -> None:
    assert old in GROUPED
    with pytest.raises(ConfigError) as error:
        load_section(write(tmp_path, GROUPED.replace(old, new, 1)), TableFile)
    assert re.search(rf"table.yaml:{line}: .*{words}", str(error.value)), str(error.value)
