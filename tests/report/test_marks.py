"""Best, second best, significant, the difference to the baseline, groups and arrows: decided once, shown everywhere."""

import csv
import io
import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from mmkd.record import RunRecord
from mmkd.report.render import to_csv, to_html, to_latex, to_markdown
from mmkd.report.show import print_table
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile

MakeRecord = Callable[..., RunRecord]
Build = Callable[..., Table]

SCORES = {
    "alone": [(0.50, 0.40), (0.52, 0.44), (0.51, 0.36)],
    "hint": [(0.60, 0.30), (0.63, 0.38), (0.60, 0.28)],
    "crd": [(0.70, 0.20), (0.71, 0.24), (0.72, 0.22)],
}
NONE: dict[str, str] = {}
NASTY = r"<b>5% & $x_1$ \ {#} ~^"


@pytest.fixture
def build(make_record: MakeRecord) -> Build:
    """A table of three students; each change is a key of the table file."""

    def make(scores: Any = SCORES, names: Any = NONE, **keys: Any) -> Table:
        records = [
            make_record(
                name,
                seed,
                test={"ner": {"f1": f1}, "risk": {"mae": mae}},
                directions={"mae": "minimize"},
                parameters=1000 if name == "crd" else 1500,
                seconds={"train": 60.0 + seed, "evaluate": 3.0},
                flops=2.5e9,
            )
            for name, values in scores.items()
            for seed, (f1, mae) in enumerate(values)
        ]
        file: dict[str, Any] = {
            "title": "t",
            "rows": {names.get(name, name): {"experiment": name} for name in scores},
            "columns": {"F1": {"score": "ner.f1"}, "error": {"score": "risk.mae", "unit": "as recorded"}},
        }
        return build_table(records, TableFile.model_validate(file | keys), "main")

    return make


def marks(found: Table, column: str = "F1") -> dict[str, str]:
    cells = {row.label: row.cells[column] for row in found.rows}
    return {label: "best" if each.best else "second" if each.second else "" for label, each in cells.items()}


def line(text: str, label: str) -> str:
    return next(re.sub(" +", " ", each) for each in text.splitlines() if label in each and "±" in each)


def one(value: float) -> list[tuple[float, float]]:
    return [(value, 0.5)]


def test_best_and_second_by_hand(build: Build) -> None:
    assert marks(build()) == {"alone": "", "hint": "second", "crd": "best"}
    assert marks(build(), "error") == {"alone": "", "hint": "second", "crd": "best"}  # the smaller is better


def test_the_second_best_is_decided_on_unrounded_numbers(build: Build) -> None:
    scores = {"alone": one(0.60001), "hint": one(0.60002), "crd": one(0.60003)}
    assert marks(build(scores)) == {"alone": "", "hint": "second", "crd": "best"}


def test_equal_students_share_a_mark(build: Build) -> None:
    assert marks(build({"alone": one(0.7), "hint": one(0.6), "crd": one(0.7)})) == {
        "alone": "best",
        "hint": "second",
        "crd": "best",
    }
    scores = {"alone": one(0.6), "hint": one(0.6), "crd": one(0.7), "vid": one(0.1)}
    assert marks(build(scores)) == {"alone": "second", "hint": "second", "crd": "best", "vid": ""}
    assert set(marks(build(dict.fromkeys(SCORES, one(0.6)))).values()) == {"best"}


def test_of_two_students_none_is_the_second_best(build: Build) -> None:
    assert marks(build({"alone": one(0.6), "crd": one(0.7)})) == {"alone": "", "crd": "best"}


def test_a_missing_student_does_not_count(build: Build) -> None:
    rows = {name: {"experiment": name} for name in ("alone", "crd", "none")}
    assert marks(build({"alone": one(0.6), "crd": one(0.7)}, rows=rows)) == {"alone": "", "crd": "best", "none": ""}


def test_values_have_no_best(build: Build) -> None:
    assert set(marks(build(columns={"size": {"value": "parameters"}}), "size").values()) == {""}


def test_a_dagger_marks_a_corrected_p_below_the_level(build: Build) -> None:
    """crd - alone: 0.20, 0.19, 0.21, t = 34.6, p = 0.0008; hint - alone: 0.10, 0.11, 0.09, t = 17.3, p = 0.0033."""
    found = build(baseline="alone", columns={"F1": {"score": "ner.f1"}})
    assert {row.label: row.cells["F1"].significant for row in found.rows} == {"alone": False, "hint": True, "crd": True}
    assert "- †: differs from `alone`, Holm p \\< 0.05\n" in to_markdown(found)
    noisy = {"alone": [(0.5, 0), (0.6, 0)], "crd": [(0.6, 0), (0.8, 0)]}
    weak = build(noisy, baseline="alone", columns={"F1": {"score": "ner.f1"}})
    assert not any(row.cells["F1"].significant for row in weak.rows)
    assert "†" not in to_markdown(weak)


def test_only_the_columns_that_are_tested_count(build: Build) -> None:
    """As above, beside a column of errors, which would make four tests of two."""
    all_four, found = (build(baseline="alone", delta=True, **more) for more in ({}, {"tested": ["F1"]}))
    assert len(all_four.comparisons) == 4
    assert [(each.row, each.column) for each in found.comparisons] == [("hint", "F1"), ("crd", "F1")]
    p = {each.row: each.test.p for each in found.comparisons if each.test is not None}
    corrected = {each.row: each.p_holm for each in found.comparisons}
    assert corrected == {"crd": 2 * p["crd"], "hint": p["hint"]}  # Holm over two: the smaller twice, the larger once
    assert not any(row.cells["error"].significant for row in found.rows)
    assert found.rows[1].cells["error"].delta is not None
    text = to_markdown(found)
    assert "Holm-corrected over the table's tests (2)\n" in text
    assert "- tested, as the table's file says: F1; no other column is\n" in text
    assert "tested, as the table's file says" not in to_markdown(all_four)


def test_the_difference_stands_beside_the_score(build: Build) -> None:
    found = build(baseline="alone", delta=True)
    texts = {row.label: line(to_markdown(found), f"| {row.label}") for row in found.rows}
    assert texts["alone"] == "| alone | 51.0 ± 1.0 | 0.400 ± 0.040 | 3 |"
    assert texts["hint"] == "| hint | <ins>61.0 ± 1.7</ins>† (+10.0) | <ins>0.320 ± 0.053</ins>† (-0.080) | 3 |"
    assert "| **71.0 ± 1.0**† (+20.0) | **0.220 ± 0.020**† (-0.180) |" in texts["crd"]
    assert "- in brackets: mean difference to `alone`, over the seeds that both have\n" in to_markdown(found)


def test_a_column_decides_for_itself(build: Build) -> None:
    columns = {"F1": {"score": "ner.f1"}, "size": {"value": "parameters", "delta": True}}
    found = build(baseline="alone", columns=columns)
    assert line(to_markdown(found), "| crd") == "| crd | **71.0 ± 1.0**† | 1,000 (-500) | 3 |"
    columns = {"F1": {"score": "ner.f1", "delta": False}, "size": {"value": "parameters"}}
    found = build(baseline="alone", columns=columns, delta=True)
    assert line(to_markdown(found), "| crd") == "| crd | **71.0 ± 1.0**† | 1,000 (-500) | 3 |"


def test_a_difference_is_over_common_seeds(build: Build) -> None:
    scores = {"alone": [(0.5, 0), (0.6, 0)], "crd": [(0.7, 0), (0.8, 0), (0.1, 0)]}
    (_, crd) = build(scores, baseline="alone", delta=True).rows
    assert crd.cells["F1"].delta == pytest.approx(0.2)


def test_rows_stand_in_their_groups(build: Build) -> None:
    found = build(groups={"By features": ["crd", "hint"]})
    lines = to_markdown(found).splitlines()
    start = next(i for i, each in enumerate(lines) if each.startswith("| ---"))
    assert [each.split("|")[1].strip() for each in lines[start + 1 : start + 5]] == [
        "alone",
        "*By features*",
        "crd",
        "hint",
    ]
    latex = to_latex(found)
    expected = "\n\\midrule\n\\multicolumn{4}{l}{\\textit{By features}} \\\\\ncrd & "
    assert expected in latex
    page = to_html(found)
    assert '<tr><th scope="rowgroup" colspan="4">By features</th></tr>\n<tr><th scope="row">crd</th>' in page
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [(each["row"], each["group"]) for each in rows if each["column"] == "F1"] == [
        ("alone", ""),
        ("crd", "By features"),
        ("hint", "By features"),
    ]


def test_numbers_of_the_record(build: Build, make_record: MakeRecord) -> None:
    columns = {
        "flops": {"value": "flops", "unit": "G", "digits": 2},
        "plain": {"value": "flops"},
        "cost": {"value": "seconds", "unit": "min"},
    }
    found = build(columns=columns)
    text = to_markdown(found)
    assert "| flops (G) | plain | cost (min) |" in re.sub(" +", " ", text)
    assert line(text, "| crd") == "| crd | 2.50 | 2,500,000,000 | 1.1 ± 0.0 | 3 |"
    assert "- flops: `flops`, operations of a forward pass per example, a multiply-add counted as two, in G\n" in text
    assert "- cost: `seconds`, wall time of all phases, in min\n" in text
    assert "- measured on cpu, Example CPU, 1 thread(s)\n" in text
    file = TableFile.model_validate({"title": "t", "rows": {"a": {"experiment": "alone"}}, "columns": columns})
    (row,) = build_table([make_record("alone")], file, "main").rows
    assert row.cells["flops"].missing == "no number of operations in `alone/student-seed0.json`"
    assert row.cells["flops"].fill is None


class Page(HTMLParser):
    """Text of the cells, row by row, and the tags that are open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.marked: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "tr" in self.open:
            self.rows[-1][-1] += data
            if self.open[-1] in ("b", "u"):
                self.marked[data] = self.open[-1]


def test_html_has_the_same_cells_escaped(build: Build) -> None:
    found = build(names={"alone": NASTY}, baseline=NASTY, delta=True, title=f"Gain {NASTY}", groups={NASTY: ["crd"]})
    text = to_html(found)
    page = Page(text)
    assert page.open == [] and text.isascii()
    assert page.rows == [
        ["", "F1 ↑", "error ↓", "n"],
        [NASTY, "51.0 ± 1.0", "0.400 ± 0.040", "3"],
        ["hint", "61.0 ± 1.7† (+10.0)", "0.320 ± 0.053† (-0.080)", "3"],
        [NASTY],
        ["crd", "71.0 ± 1.0† (+20.0)", "0.220 ± 0.020† (-0.180)", "3"],
    ]
    assert page.marked["71.0 ± 1.0"] == "b" and page.marked["61.0 ± 1.7"] == "u"
    assert NASTY not in text
    assert not re.search(r"<(script|link|img)|url\(|https?:", text)


def test_the_terminal_shows_groups_and_differences(build: Build) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    print_table(build(baseline="alone", delta=True, groups={"By features": ["crd"]}), console)
    text = console.export_text()
    assert "F1 ↑" in text and "By features" in text and "71.0 ± 1.0† (+20.0)" in text


def test_a_command_can_be_copied_from_every_format(build: Build) -> None:
    found = build(seeds=[0, 1, 2, 9])
    command = "mmkd run experiments/alone.yaml 'seeds=[9]'"
    assert f"make it with `{command}`\n" in to_markdown(found)
    assert f"make it with <code>{escape(command)}</code>" in to_html(found)
    assert "alone.yaml \\textquotesingle{}seeds={[}9]\\textquotesingle{}}" in to_latex(found)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
@pytest.mark.parametrize("name", ["main", "name_with_underscores"])
def test_latex_compiles_in_a_minimal_document(build: Build, tmp_path: Path, name: str) -> None:
    found = build(names={"alone": NASTY}, baseline=NASTY, delta=True, title=f"Gain {NASTY}", groups={NASTY: ["crd"]})
    (tmp_path / "table.tex").write_text(to_latex(found).replace("tab:main", f"tab:{name}"), "utf-8")
    document = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\\input{table}\\end{document}\n"
    (tmp_path / "document.tex").write_text(document, "utf-8")
    command = ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "document.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "document.pdf").stat().st_size > 1000
    assert not re.search(r"^(!|LaTeX Warning: (?!There were|Label))", done.stdout, re.MULTILINE), done.stdout
