"""How a table is written: Markdown, LaTeX, CSV and the terminal."""

import csv
import hashlib
import io
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from mmkd.record import Code, RunRecord
from mmkd.report.render import escape_latex, to_csv, to_latex, to_markdown
from mmkd.report.show import print_table
from mmkd.report.table import Table, build_table
from mmkd.report.table_file import TableFile

MakeRecord = Callable[..., RunRecord]

ROWS = {
    "text teacher": {"experiment": "quickstart", "role": "teacher", "teacher": "text"},
    "alone|50%": {"experiment": "alone"},
    "distilled": {"experiment": "quickstart"},
    "[best]": {"experiment": "quickstart", "ceiling": "both"},
}
COLUMNS = {
    "NER_F1": {"score": "ner.entity_f1"},
    "error": {"score": "risk.mae", "unit": "as recorded"},
    "size": {"value": "parameters"},
    "M": {"value": "parameters", "unit": "M", "digits": 2},
    "time": {"value": "seconds.train", "unit": "min", "digits": 2},
}


@pytest.fixture
def table(make_record: MakeRecord) -> Table:
    def record(name: str, seed: int, ner: float, mae: float, **changes: Any) -> RunRecord:
        scores = {"ner": {"entity_f1": ner}, "risk": {"mae": mae}}
        return make_record(name, seed, test=scores, directions={"mae": "minimize"}, **changes)

    ceilings = {"ner": {"entity_f1": {"both": 0.9}}}
    records = [
        record("quickstart", 0, 0.9, -0.25, teacher="text"),
        record("alone", 0, 0.60, 0.5),
        record("alone", 1, 0.62, 0.3),
        record("quickstart", 0, 0.70, -0.0001, ceilings=ceilings),
        record("quickstart", 1, 0.74, -0.0001, ceilings=ceilings),
    ]
    file = {"title": "Gain of 5% & more", "rows": ROWS, "columns": COLUMNS, "baseline": "alone|50%"}
    return build_table(records, TableFile.model_validate(file), "main")


def test_markdown_by_hand(table: Table) -> None:
    """Times are 61.5 s and 62.5 s: 1.03 min, with a deviation of 0.0118 min; those of NER are 0.0141 and 0.0283."""
    lines = [re.sub(" +", " ", line) for line in to_markdown(table).splitlines()]
    assert lines[0] == "# Gain of 5% & more"
    start = lines.index("| | NER_F1 ↑ | error ↓ | size | M (M) | time (min) | n |")
    assert lines[start + 2 : start + 6] == [
        "| text teacher | 90.0 | -0.250 | 1,234,567 | 1.23 | 1.02 | 1 |",
        "| alone\\|50% | 61.0 ± 1.4 | 0.400 ± 0.141 | 1,234,567 | 1.23 | 1.03 ± 0.01 | 2 |",
        "| distilled | **72.0 ± 2.8** | **0.000 ± 0.000** | 1,234,567 | 1.23 | 1.03 ± 0.01 | 2 |",
        "| \\[best\\] | 90.0 | - | - | - | - | |".replace(" - ", " \N{EN DASH} "),
    ]


def test_notes_say_what_is_needed(table: Table) -> None:
    text = to_markdown(table)
    for line in (
        "- \\[best\\], error: no ceiling of `risk.mae` from both in the records of `quickstart`",
        "- \\[best\\], size, M, time: a ceiling is no network",
        "- NER_F1: `ner.entity_f1`, in %, higher is better",
        "- error: `risk.mae`, as recorded, lower is better",
        "- time: `seconds.train`, wall time of the phase train, in min",
        "- selection: the epoch was chosen on validation by `mean_score` (maximize)",
        "- times that a run opened the test split: 1",
        "- data: market_notes da7ada7ada7a",
        "- code: 0.1.0",
        "- packages: torch 2.15.0, transformers 5.23.0",
    ):
        assert f"{line}\n" in text
    # Differences 0.10 and 0.12: mean 0.11, std 0.01414, t = 11; margin tan(0.475 pi) * 0.01; p = 1 - 2 atan(11) / pi.
    assert "- distilled, NER_F1: +11.0 (95% interval -1.7 to +23.7), p = 0.058, Holm p = 0.115, n = 2 pairs\n" in text


def test_rows_that_differ_in_origin_are_told_apart(make_record: MakeRecord) -> None:
    dirty = Code(version="0.1.0", commit="beef" * 10, diff="d1ff" * 16)
    records = [make_record(), make_record("alone", code=dirty, data={"market_notes": "0ther" * 10})]
    rows = {"alone": {"experiment": "alone"}, "distilled": {"experiment": "quickstart"}}
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": COLUMNS})
    text = to_markdown(build_table(records, file, "main"))
    assert "- data: market_notes 0ther0ther0t: alone\n- data: market_notes da7ada7ada7a: distilled\n" in text
    assert "- code: 0.1.0 with uncommitted changes: alone\n- code: 0.1.0: distilled\n" in text


def test_a_test_split_that_was_opened_again_is_said_with_its_row(make_record: MakeRecord) -> None:
    rows = {"alone": {"experiment": "alone"}, "distilled": {"experiment": "quickstart"}}
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": COLUMNS})

    def text(openings: int, split: str = "test") -> str:
        records = [make_record("alone"), make_record(seed=0), make_record(seed=3, test_openings=openings)]
        return to_markdown(build_table(records, file.model_copy(update={"split": split}), "main"))

    line = "- distilled: the test split was opened more than once per seed (seed 3: 2 times); "
    assert line in text(2)
    assert "more than once" not in text(1) and "more than once" not in text(2, "validation")
    assert "- alone: the test split" not in text(2)


def test_the_notes_hash_what_came_out_of_all_records(make_record: MakeRecord) -> None:
    records = [make_record(seed=1), make_record(seed=0)]
    rows = {"distilled": {"experiment": "quickstart"}}
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": COLUMNS})
    names = ("name", "role", "teacher", "seed", "experiment_hash", "data", "weights", "selection", "scores", "history")
    outcomes = []
    for record in reversed(records):
        content = record.model_dump(mode="json")
        kept = {name: content[name] for name in (*names, "predictions")}
        text = json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        outcomes.append(hashlib.sha256(text.encode()).hexdigest())
    expected = hashlib.sha256("\n".join(outcomes).encode()).hexdigest()[:16]
    assert f"- records: 2; sha256 of what came out: {expected}\n" in to_markdown(build_table(records, file, "main"))


def test_a_table_of_a_run_made_again_later_elsewhere_is_the_same_to_the_byte(make_record: MakeRecord) -> None:
    first, again = make_record(), make_record()
    elsewhere = first.machine.model_copy(update={"cpu": "another one", "platform": "another one"})
    later = {"created": "2031-01-01T00:00:00+00:00", "seconds": {"train": 1e6}, "peak_memory": 1, "digest": "other"}
    code = Code(version=first.code.version, commit="feed" * 10, diff=None)
    again = again.model_copy(update={**later, "machine": elsewhere, "code": code})
    timeless = {label: shows for label, shows in COLUMNS.items() if label != "time"}
    rows = {"distilled": {"experiment": "quickstart"}}
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": timeless})
    tables = [build_table([record], file, "main") for record in (first, again)]
    assert to_markdown(tables[0]) == to_markdown(tables[1]) and to_csv(tables[0]) == to_csv(tables[1])
    weights = build_table([again.model_copy(update={"weights": "0" * 64})], file, "main")
    assert to_markdown(weights) != to_markdown(tables[0])


def test_scores_with_a_modality_hidden_have_columns(make_record: MakeRecord) -> None:
    record = make_record()
    half = {
        task: {name: s.model_copy(update={"value": s.value / 2}) for name, s in m.items()}
        for task, m in record.scores["test"].items()
    }
    record = record.model_copy(update={"scores": {**record.scores, "test without image": half}})
    columns = {
        "NER": {"score": "ner.entity_f1"},
        "no image": {"score": "ner.entity_f1", "without": "image"},
        "no text": {"score": "ner.entity_f1", "without": "text"},
    }
    rows = {"distilled": {"experiment": "quickstart"}, "ceiling": {"experiment": "quickstart", "ceiling": "both"}}
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": columns})
    table = build_table([record], file, "main")
    cells = table.rows[0].cells
    assert cells["no image"].values[record.seed] == cells["NER"].values[record.seed] / 2
    assert "no score `ner.entity_f1` on test without text" in (cells["no text"].missing or "")
    assert "whole test split only" in (table.rows[1].cells["no image"].missing or "")
    assert "- no image: `ner.entity_f1`, with the image of every row hidden, in %" in to_markdown(table)
    assert "ner.entity_f1,test without image,maximize" in to_csv(table)


def test_too_few_pairs_are_said_plainly(make_record: MakeRecord) -> None:
    rows = {"alone": {"experiment": "alone"}, "distilled": {"experiment": "quickstart"}}
    columns = {"NER": {"score": "ner.entity_f1"}}
    file = TableFile.model_validate({"title": "t", "rows": rows, "columns": columns, "baseline": "alone"})
    one = to_markdown(build_table([make_record(), make_record("alone")], file, "main"))
    assert "- distilled, NER: n = 1 pairs of equal seed, which is too few to say anything" in one
    records = [make_record(name, seed) for name in ("quickstart", "alone") for seed in (0, 1)]
    equal = to_markdown(build_table(records, file, "main"))
    assert "- distilled, NER: +0.0 in each of n = 2 pairs; equal differences have no spread" in equal


def test_the_text_does_not_depend_on_the_order_of_records(table: Table) -> None:
    again = build_table(list(reversed(table.records)), table.file, table.name)
    for render in (to_markdown, to_latex, to_csv):
        assert render(again) == render(table)


def test_latex_by_hand(table: Table) -> None:
    lines = to_latex(table).splitlines()
    start = lines.index(r"\midrule")
    assert lines[start - 1] == r" & NER\_F1 $\uparrow$ & error $\downarrow$ & size & M (M) & time (min) & n \\"
    assert lines[start + 1 : start + 5] == [
        r"text teacher & 90.0 & $-$0.250 & 1,234,567 & 1.23 & 1.02 & 1 \\",
        r"alone|50\% & 61.0 $\pm$ 1.4 & 0.400 $\pm$ 0.141 & 1,234,567 & 1.23 & 1.03 $\pm$ 0.01 & 2 \\",
        r"distilled & \textbf{72.0 $\pm$ 2.8} & \textbf{0.000 $\pm$ 0.000} & 1,234,567 & 1.23 & 1.03 $\pm$ 0.01 & 2 \\",
        r"{[}best] & 90.0 & -- & -- & -- & -- &  \\",
    ]
    assert r"\caption{Gain of 5\% \& more}" in lines
    # A float cannot go over pages, and notes can be many.
    assert lines.index(r"\end{table}") < lines.index(r"\par\smallskip\textbf{Columns.}")


def test_latex_is_balanced(table: Table) -> None:
    text = to_latex(table)
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{(\w+)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    body = re.sub(r"\\[{}\\]|^%.*$", "", text, flags=re.MULTILINE)
    assert body.count("{") == body.count("}")
    assert re.search(r"(?<!\\)[_%#]", body) is None
    assert text.isascii()


def test_latex_escapes_every_special_character() -> None:
    assert escape_latex(r"a_b & 5% #1 $x {y} ~ ^ \ <>") == (
        r"a\_b \& 5\% \#1 \$x \{y\} \textasciitilde{} \textasciicircum{} \textbackslash{} \textless{}\textgreater{}"
    )


def test_csv_keeps_every_digit(table: Table) -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert len(lines) == len(ROWS) * len(COLUMNS)
    found = next(line for line in lines if (line["row"], line["column"]) == ("distilled", "NER_F1"))
    cell = table.rows[2].cells["NER_F1"]
    assert cell.summary is not None
    assert (float(found["mean"]), float(found["std"])) == (cell.summary.mean, cell.summary.std)
    assert [float(value) for value in found["values"].split()] == [0.70, 0.74]
    assert (found["seeds"], found["n"], found["rank"], found["direction"]) == ("0 1", "2", "best", "maximize")
    assert float(found["low"]) == pytest.approx(cell.summary.low, rel=1e-8)
    assert float(found["difference"]) == pytest.approx(0.11)
    assert float(found["t"]) == pytest.approx(11)
    assert found["records"].split() == ["quickstart/student-seed0.json", "quickstart/student-seed1.json"]


def test_the_terminal_shows_labels_as_they_are(table: Table) -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    print_table(table, console)
    text = console.export_text()
    for words in ("Gain of 5% & more", "[best]", "alone|50%", "72.0 ± 2.8", "Holm p = 0.115"):
        assert words in text
