"""Tables of a folder: written again to the byte, and every kind of tampering named with its cells."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mmkd.config.problems import ConfigError
from mmkd.record import Code, RecordError, RunRecord, write_record
from mmkd.report.error import ReportError
from mmkd.report.tables import check_tables, write_tables

MakeRecord = Callable[..., RunRecord]
WriteRecords = Callable[..., Path]

TABLE = """\
title: what distillation buys
rows:
  alone: {experiment: alone}
  distilled: {experiment: quickstart}
  best: {experiment: quickstart, ceiling: both}
columns:
  NER: {score: ner.entity_f1}
  size: {value: parameters}
baseline: alone
"""
SUFFIXES = (".md", ".tex", ".csv", ".html")


@pytest.fixture
def records(make_record: MakeRecord) -> list[RunRecord]:
    ceilings = {"ner": {"entity_f1": {"both": 0.9}}}
    scores = {"quickstart": (0.70, 0.74), "alone": (0.60, 0.62)}
    return [
        make_record(name, seed, test={"ner": {"entity_f1": value}}, ceilings=ceilings)
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]


@pytest.fixture
def ledger(records: list[RunRecord], write_ledger: WriteRecords) -> Path:
    return write_ledger(*records)


@pytest.fixture
def tables(tmp_path: Path, ledger: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "main.yaml").write_text(TABLE, "utf-8")
    write_tables(folder, ledger, folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_bytes().decode()
    assert old in text
    path.write_bytes(text.replace(old, new, 1).encode())


def one(problems: list[str]) -> str:
    assert len(problems) == 1, problems
    return problems[0]


def test_an_untouched_folder_has_no_problems(tables: Path, ledger: Path) -> None:
    assert sorted(path.name for path in tables.iterdir()) == [
        f"main.{kind}" for kind in ("csv", "html", "md", "tex", "yaml")
    ]
    assert check_tables(tables, ledger) == []


def test_deleted_tables_come_back_to_the_byte(tables: Path, ledger: Path) -> None:
    paths = [tables / f"main{suffix}" for suffix in SUFFIXES]
    before = [path.read_bytes() for path in paths]
    for path in paths:
        path.unlink()
    problems = check_tables(tables, ledger)
    assert problems == [f"{path}: is missing; make it with `mmkd tables`" for path in paths]
    assert write_tables(tables, ledger, tables) == paths
    assert [path.read_bytes() for path in paths] == before
    assert check_tables(tables, ledger) == []


def test_scratch_runs_give_the_same_tables(
    records: list[RunRecord], tables: Path, tmp_path: Path, write_runs: WriteRecords
) -> None:
    written = write_tables(tables, write_runs(*reversed(records)), tmp_path / "elsewhere" / "tables")
    assert [path.name for path in written] == [f"main{suffix}" for suffix in SUFFIXES]
    for path in written:
        assert path.read_bytes() == (tables / path.name).read_bytes()
        assert str(tmp_path) not in path.read_text("utf-8")


@pytest.mark.parametrize(
    ("suffix", "old", "new", "where", "words"),
    [
        (".md", "**72.0 ±", "**73.0 ±", ": row distilled, column NER", "found `**73.0 ± 2.8**`, but `**72.0 ± 2.8**`"),
        (".md", "61.0 ± 1.4", "**61.0 ± 1.4**", ": row alone, column NER", "found `**61.0 ± 1.4**`, but `61.0 ± 1.4`"),
        (".md", "| alone ", "| lone ", ": row alone, column NER", "is not there, but `61.0 ± 1.4` follows"),
        (".md", "| alone ", "| lone ", ": row lone, column size", "found `1,234,567`, which does not follow"),
        (".md", " NER ↑ |", " RE |", ": row header, column 2", "found `RE`, but `NER ↑` follows"),
        (".md", "| best ", "| new | 1 |\n| best ", ": row new, column NER", "found `1`, which does not follow"),
        (".md", "| best  ", "|  best ", ":9", "| best "),
        (".md", "# what", "# which", ":1", "found `# which distillation buys`, but `# what distillation buys` follows"),
        (".md", "-->\n", "-->\nmore\n", ":4", "found `more`, which does not follow"),
        (".md", "\n<!--", "\nmore\n<!--", ":3", "found `more`, which does not follow"),
        (".tex", "72.0 $\\pm$", "74.0 $\\pm$", ": row distilled, column NER", "`\\textbf{72.0 $\\pm$ 2.8}` follows"),
        (".tex", "\\toprule", "\\hline", ":8", "found `\\hline`, but `\\toprule` follows"),
        (".csv", "0.7 0.74", "0.7 0.75", ": row distilled, column NER, values", "found `0.7 0.75`, but `0.7 0.74`"),
        (".csv", ",0.72,", ",0.721,", ": row distilled, column NER, mean", "found `0.721`, but `0.72` follows"),
        (".csv", "row,column", "row,kolumn", ":1", "found `row,kolumn"),
        (".csv", "\n", "\r\n", ":1", "\\r\\n"),
    ],
)
def test_an_edited_table_is_named_by_cell_or_line(
    tables: Path, ledger: Path, suffix: str, old: str, new: str, where: str, words: str
) -> None:
    path = tables / f"main{suffix}"
    edit(path, old, new)
    problems = check_tables(tables, ledger)
    assert any(problem.startswith(f"{path}{where}") and words in problem for problem in problems), problems
    assert all(problem.startswith(str(path)) for problem in problems)


def test_changed_notes_are_named_by_line(tables: Path, ledger: Path) -> None:
    path = tables / "main.md"
    edit(path, "p = 0.058", "p = 0.008")
    number = next(i for i, line in enumerate(path.read_text("utf-8").splitlines(), 1) if "p = 0.008" in line)
    problem = one(check_tables(tables, ledger))
    assert re.match(rf"{re.escape(str(path))}:{number}: found `.*p = 0.008.*`, but `.*p = 0.058.*` follows", problem)


def test_only_the_edited_cell_is_named(tables: Path, ledger: Path) -> None:
    edit(tables / "main.md", "61.0 ± 1.4", "61.1 ± 1.4")
    assert "row alone, column NER ↑: found `61.1 ± 1.4`, but `61.0 ± 1.4` follows" in one(check_tables(tables, ledger))


@pytest.mark.parametrize(("old", "new"), [('"loss": 0.3', '"loss": 0.4'), ('"peak_memory": 3', '"peak_memory": 4')])
def test_a_digit_that_no_table_shows_fails_too(tables: Path, ledger: Path, old: str, new: str) -> None:
    edit(ledger / "quickstart" / "student-seed1.json", old, new)
    problem, *others = check_tables(tables, ledger)
    assert "quickstart/student-seed1.json: its content does not match its own sha256" in problem
    assert (
        "on it rest: table main, row distilled, columns NER, size; table main, row best, columns NER, size" in problem
    )
    assert all("sha256 of what came out" in other for other in others)  # the history is part of it, a memory is not
    with pytest.raises(RecordError, match=r"student-seed1\.json"):
        write_tables(tables, ledger, tables)


def test_a_shown_digit_names_the_record_and_the_cells_that_change(tables: Path, ledger: Path) -> None:
    text = (ledger / "alone" / "student-seed0.json").read_text("utf-8")
    (ledger / "alone" / "student-seed0.json").write_text(text.replace('"value": 0.6,', '"value": 0.5,'), "utf-8")
    problems = check_tables(tables, ledger)
    assert "alone/student-seed0.json: its content does not match" in problems[0]
    assert "on it rest: table main, row alone, columns NER, size" in problems[0]
    assert any("main.md: row alone, column NER ↑: found `61.0 ± 1.4`, but `56.0 ± 8.5`" in line for line in problems)


def test_a_forged_record_with_a_fresh_digest_changes_its_cells(
    tables: Path, ledger: Path, records: list[RunRecord]
) -> None:
    """A digest proves nothing against one who writes it anew; the tables then no longer follow."""
    path = ledger / "alone" / "student-seed0.json"
    edit(path, '"parameters": 1234567', '"parameters": 999')
    content = RunRecord.model_validate_json(path.read_text("utf-8"))
    write_record(content, path)
    problems = check_tables(tables, ledger)
    assert any("main.md: row alone, column size" in line for line in problems)


def test_a_record_that_cannot_be_read_names_its_cells(tables: Path, ledger: Path) -> None:
    edit(ledger / "alone" / "student-seed1.json", "{", "")
    problems = check_tables(tables, ledger)
    assert "alone/student-seed1.json: not a run record" in problems[0]
    assert "on it rest: table main, row alone, columns NER, size" in problems[0]


def test_a_deleted_record_is_seen_in_its_cells(tables: Path, ledger: Path) -> None:
    for path in (ledger / "alone").iterdir():
        path.unlink()
    problems = check_tables(tables, ledger)
    assert any("row alone, column NER ↑: found `61.0 ± 1.4`, but `\N{EN DASH}` follows" in line for line in problems)


def test_changed_predictions_name_record_and_cells(tables: Path, ledger: Path) -> None:
    (ledger / "alone" / "student-seed0.parquet").write_bytes(b"others")
    problem = one(check_tables(tables, ledger))
    assert "alone/student-seed0.json: its predictions student-seed0.parquet do not match it" in problem
    assert "on it rest: table main, row alone, columns NER, size" in problem


@pytest.mark.parametrize(
    ("commit", "diff", "words"),
    [("beef" * 10, "d1ff" * 16, "uncommitted changes .diff d1ffd1ffd1ff"), (None, None, "outside a repository")],
)
def test_code_that_no_commit_holds_is_named(
    tables: Path,
    make_record: MakeRecord,
    write_ledger: WriteRecords,
    commit: str | None,
    diff: str | None,
    words: str,
) -> None:
    code = Code(version="0.1.0", commit=commit, diff=diff)
    ledger = write_ledger(make_record("other", code=code))
    problem = one(check_tables(tables, ledger))
    assert re.search(rf"other/student-seed0.json: .*{words}.*no table rests on it", problem)


def test_records_that_do_not_fit_are_a_problem(
    tables: Path, ledger: Path, make_record: MakeRecord, write_ledger: WriteRecords
) -> None:
    write_ledger(make_record("alone", seed=2, data={"market_notes": "0ther"}))
    assert "main.yaml: table main, row alone, every column: mixed data" in one(check_tables(tables, ledger))
    with pytest.raises(ReportError, match="mixed data"):
        write_tables(tables, ledger, tables)


def test_strays_are_named_and_a_readme_is_none(tables: Path, ledger: Path) -> None:
    (tables / "README.md").write_text("About these tables.\n", "utf-8")
    (tables / "old.tex").write_text("x", "utf-8")
    assert one(check_tables(tables, ledger)) == (
        f"{tables}/old.tex: has no table file old.yaml; delete it, or write its table file"
    )


def test_a_mistake_in_one_table_file_leaves_the_others_checked(tables: Path, ledger: Path) -> None:
    (tables / "wrong.yaml").write_text(TABLE.replace("columns:", "kolumns:"), "utf-8")
    edit(tables / "main.md", "61.0", "61.9")
    problems = check_tables(tables, ledger)
    assert any("wrong.yaml:6: kolumns: unknown key" in line for line in problems)
    assert any("main.md: row alone, column NER" in line for line in problems)


def test_nothing_is_written_unless_every_table_can_be(tables: Path, ledger: Path, tmp_path: Path) -> None:
    (tables / "wrong.yaml").write_text("title: no more\n", "utf-8")
    with pytest.raises(ConfigError, match=r"wrong\.yaml"):
        write_tables(tables, ledger, tmp_path / "output")
    assert not (tmp_path / "output").exists()


def test_names_and_folders_are_checked(tables: Path, ledger: Path, tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="no such folder; expected one of table files"):
        check_tables(tmp_path / "absent", ledger)
    with pytest.raises(ReportError, match="no such folder; expected a folder of run records"):
        check_tables(tables, tmp_path / "absent")
    (tables / "a b.yaml").write_text(TABLE, "utf-8")
    with pytest.raises(ReportError, match="expected letters, digits"):
        write_tables(tables, ledger, tables)
