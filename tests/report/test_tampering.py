"""Every kind of tampering makes the check fail and name cell and run; the untouched tables have no fault."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkd.record import Code, RunRecord, digest_of
from mmkd.report.tables import check_tables, write_tables

MakeRecord = Callable[..., RunRecord]
WriteRecords = Callable[..., Path]
Change = Callable[[Path, Path], None]
"""(folder of the tables, ledger) -> None."""

TABLE = """\
title: what distillation buys
rows:
  text: {experiment: quickstart, role: teacher, teacher: text}
  alone: {experiment: alone}
  hint: {experiment: hint}
  distilled: {experiment: quickstart}
groups: {Students: [alone, hint, distilled]}
columns:
  NER: {score: ner.entity_f1}
  size: {value: parameters}
seeds: [0, 1, 2]
baseline: alone
delta: true
"""
TIMES = """\
title: times
rows:
  alone: {experiment: alone}
  distilled: {experiment: quickstart}
columns:
  time: {value: seconds}
"""
EXAMPLES = """\
title: over the examples
rows:
  plain: {experiment: plain}
  taught: {experiment: taught}
columns:
  mood: {score: sentiment.accuracy}
  F1: {score: sentiment.macro_f1}
  calibration: {score: sentiment.ece}
baseline: plain
examples: true
"""
GOLD = (0, 0, 0, 0, 1, 1, 1, 1)
MOODS = {"plain": (0, 1, 0, 1, 0, 1, 0, 1), "taught": (0, 0, 0, 0, 1, 1, 0, 1)}
"""Accuracy and macro F1, both of equally frequent classes: 4/8 and (1/2 + 1/2) / 2; 7/8 and (8/9 + 6/7) / 2."""
MOOD_SCORES = {"plain": (4 / 8, 1 / 2), "taught": (7 / 8, (8 / 9 + 6 / 7) / 2)}
SCORES = {"alone": (0.60, 0.62, 0.61), "hint": (0.66, 0.65, 0.64), "quickstart": (0.70, 0.74, 0.73)}


@pytest.fixture
def ledger(
    make_record: MakeRecord, write_ledger: WriteRecords, predict_classes: Callable[..., list[dict[str, Any]]]
) -> Path:
    records = [
        make_record(name, seed, test={"ner": {"entity_f1": value}})
        for name, values in SCORES.items()
        for seed, value in enumerate(values)
    ]
    records.append(make_record(teacher="text", test={"ner": {"entity_f1": 0.9}}))
    rows = {}
    for name, (accuracy, macro_f1) in MOOD_SCORES.items():
        scores = {"sentiment": {"accuracy": accuracy, "macro_f1": macro_f1, "ece": 0.1}}
        records.append(make_record(name, test=scores, experiment={"tasks": {"sentiment": {"kind": "classify"}}}))
        rows[records[-1].file_name] = predict_classes(GOLD, MOODS[name], classes=2)
    return write_ledger(*records, rows=rows)


@pytest.fixture
def tables(tmp_path: Path, ledger: Path) -> Path:
    folder = tmp_path / "tables"
    folder.mkdir()
    (folder / "main.yaml").write_text(TABLE, "utf-8")
    (folder / "times.yaml").write_text(TIMES, "utf-8")
    (folder / "examples.yaml").write_text(EXAMPLES, "utf-8")
    write_tables(folder, ledger, folder)
    return folder


def edited(name: str, old: str, new: str) -> Change:
    """A generated file with one text in place of another."""

    def change(tables: Path, ledger: Path) -> None:
        text = (tables / name).read_bytes().decode("utf-8")
        assert text.count(old) >= 1, f"{name} has no {old}"
        (tables / name).write_bytes(text.replace(old, new, 1).encode("utf-8"))

    return change


def lines(name: str, do: Callable[[list[str]], list[str]]) -> Change:
    """A generated file with its lines changed."""

    def change(tables: Path, ledger: Path) -> None:
        found = (tables / name).read_bytes().decode("utf-8").splitlines(keepends=True)
        (tables / name).write_bytes("".join(do(found)).encode("utf-8"))

    return change


def swapped(name: str, one: str, other: str) -> Change:
    """Two rows of a generated file in each other's place."""

    def do(found: list[str]) -> list[str]:
        i, j = (next(k for k, each in enumerate(found) if start in each[:30]) for start in (one, other))
        found[i], found[j] = found[j], found[i]
        return found

    return lines(name, do)


def columns_swapped(found: list[str]) -> list[str]:
    """NER and size of the Markdown table, headings too."""

    def swap(line: str) -> str:
        cells = line.split("|")
        cells[2], cells[3] = cells[3], cells[2]
        return "|".join(cells)

    return [swap(line) if line.startswith("|") else line for line in found]


def record(name: str, change: Callable[[dict[str, Any]], None], honest: bool = False) -> Change:
    """A record with its content changed; honest: with a fresh sha256, as if a run had written it so."""

    def do(tables: Path, ledger: Path) -> None:
        path = ledger / name
        content = json.loads(path.read_text("utf-8"))
        change(content)
        if honest:
            content["digest"] = digest_of(content)
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")

    return do


def at(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Sets a value of a record, at `a.b.c`."""

    def change(content: dict[str, Any]) -> None:
        *folders, last = path.split(".")
        for folder in folders:
            content = content[folder]
        content[last] = value

    return change


def copied(source: str, target: str) -> Change:
    """A record of one seed, with its predictions, under another's name."""

    def change(tables: Path, ledger: Path) -> None:
        for suffix in (".json", ".parquet"):
            shutil.copyfile((ledger / source).with_suffix(suffix), (ledger / target).with_suffix(suffix))

    return change


def removed(*names: str, from_tables: bool = False) -> Change:
    def change(tables: Path, ledger: Path) -> None:
        for name in names:
            ((tables if from_tables else ledger) / name).unlink()

    return change


def added(name: str, text: str, to_tables: bool = True) -> Change:
    def change(tables: Path, ledger: Path) -> None:
        ((tables if to_tables else ledger) / name).write_text(text, "utf-8")

    return change


def predictions(tables: Path, ledger: Path) -> None:
    """One row of the predictions, so to say: one byte of them."""
    path = ledger / "quickstart" / "student-seed1.parquet"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(bytes(content))


def predictions_signed_again(tables: Path, ledger: Path) -> None:
    """One row of the predictions, with their sha256 and the record's own set to what they are now."""
    path = ledger / "taught" / "student-seed0.parquet"
    table = pq.read_table(path)
    rows = table.to_pylist()
    assert rows[6]["predictions"] == [0] and rows[6]["labels"] == [1]
    rows[6]["predictions"] = [1]
    pq.write_table(pa.Table.from_pylist(rows, table.schema), path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    record("taught/student-seed0.json", at("predictions", digest), honest=True)(tables, ledger)


def moved_predictions(tables: Path, ledger: Path) -> None:
    """The predictions of one run beside another's record, which names them."""
    shutil.copyfile(ledger / "alone" / "student-seed0.parquet", ledger / "taught" / "student-seed0.parquet")
    digest = hashlib.sha256((ledger / "taught" / "student-seed0.parquet").read_bytes()).hexdigest()
    record("taught/student-seed0.json", at("predictions", digest), honest=True)(tables, ledger)


SCORE = "scores.test.ner.entity_f1.value"
SEED1 = "quickstart/student-seed1.json"
DISTILLED = ("row distilled", "quickstart/student-seed1.json")
CELL = ("row distilled, column NER", "quickstart/student-seed0.json, quickstart/student-seed1.json")
DIRTY = Code(version="0.1.0", commit="beef" * 10, diff="d1ff" * 16).model_dump()

CASES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "a cell of Markdown": (edited("main.md", "72.3 ±", "73.3 ±"), CELL),
    "a cell of LaTeX": (edited("main.tex", "72.3 $", "73.3 $"), CELL),
    "a cell of HTML": (edited("main.html", "72.3 &#177;", "73.3 &#177;"), CELL),
    "a mean in CSV": (edited("main.csv", "0.7233", "0.7234"), CELL),
    "a value in CSV": (edited("main.csv", "0.7 0.74 0.73", "0.7 0.75 0.73"), CELL),
    "the pairs that are needed in CSV": (
        edited("main.csv", ",3" + "," * 13 + "quickstart", ",4" + "," * 13 + "quickstart"),
        CELL,
    ),
    "a deviation": (edited("main.md", "± 2.1", "± 0.1"), CELL),
    "a difference": (edited("main.md", "(+11.3)", "(+12.3)"), CELL),
    "a dagger": (edited("main.md", "† (+11.3)", " (+11.3)"), CELL),
    "bold moved in Markdown": (edited("main.md", "61.0 ± 1.0", "**61.0 ± 1.0**"), ("row alone, column NER", "alone/")),
    "bold moved in LaTeX": (
        edited("main.tex", "61.0 $\\pm$ 1.0", "\\textbf{61.0 $\\pm$ 1.0}"),
        ("row alone", "alone/"),
    ),
    "bold taken in HTML": (edited("main.html", "<b>", "<u>"), CELL),
    "underline taken": (edited("main.md", "<ins>", ""), ("row hint, column NER", "hint/student-seed0.json")),
    "a number of runs": (edited("main.md", "|   1 |", "|   5 |"), ("row text, column n", "teacher-text-seed0.json")),
    "an arrow": (edited("main.md", "NER ↑", "NER ↓"), ("row header, column 2", "`NER ↑` follows")),
    "a heading of a group": (edited("main.md", "*Students*", "*Teachers*"), ("row *Students*",)),
    "a heading of a group in LaTeX": (edited("main.tex", "{Students}", "{Teachers}"), ("main.tex:", "Teachers")),
    "an edited note": (edited("main.md", "n = 3 pairs", "n = 9 pairs"), ("main.md:", "n = 9 pairs")),
    "an edited note of HTML": (edited("main.html", "<li>bold", "<li>bald"), ("main.html:", "bald")),
    "a row renamed": (edited("main.md", "| distilled", "| improved "), CELL),
    "a row added": (edited("main.md", "| hint ", "| x | 1 | 2 | 3 |\n| hint "), ("row x, column NER",)),
    "a row taken": (lines("main.html", lambda found: [x for x in found if "distilled</th>" not in x]), CELL),
    "a row twice": (
        lines("main.tex", lambda found: [y for x in found for y in [x] * (1 + x.startswith("alone"))]),
        ("main.tex:", "alone"),
    ),
    "rows swapped in Markdown": (swapped("main.md", "| alone", "| distilled"), DISTILLED),
    "rows swapped in LaTeX": (swapped("main.tex", "alone", "distilled"), DISTILLED),
    "rows swapped in CSV": (swapped("times.csv", "alone", "distilled"), DISTILLED),
    "columns swapped": (lines("main.md", columns_swapped), ("row header, column 2", "`NER ↑` follows")),
    "line ends": (lines("main.csv", lambda found: [x.replace("\n", "\r\n") for x in found]), ("main.csv:1", "\\r\\n")),
    "old line ends": (lines("main.csv", lambda found: [x.replace("\n", "\r") for x in found]), ("main.csv:", "\\r")),
    "a mark of byte order": (lines("main.csv", lambda found: ["\ufeff", *found]), ("main.csv:1",)),
    "no last line end": (
        lines("main.tex", lambda found: [*found[:-1], found[-1].rstrip()]),
        ("main.tex:", "par}"),
    ),
    "CSV cut": (lines("main.csv", lambda found: found[:-1]), ("row distilled, column size", SEED1)),
    "CSV cut within a line": (
        lines("main.csv", lambda found: [*found[:-1], found[-1][:40]]),
        ("row distilled, column size", SEED1),
    ),
    "an empty file": (lines("main.md", lambda found: []), CELL),
    "bytes that are no text": (lambda tables, ledger: (tables / "main.md").write_bytes(b"\xff\xfe") and None, CELL),
    "a table from elsewhere": (
        lambda tables, ledger: shutil.copy(tables / "times.md", tables / "main.md") and None,
        CELL,
    ),
    "the p of a test over examples": (
        edited("examples.md", "p = 0.250", "p = 0.025"),
        ("examples.md:", "found `- taught, mood: ", "but `- taught, mood: "),
    ),
    "the p of a test over examples in LaTeX": (
        edited("examples.tex", "p = 0.250", "p = 0.025"),
        ("examples.tex:", "taught, mood: ", "p = 0.025"),
    ),
    "the p of a test over examples in HTML": (
        edited("examples.html", "p = 0.250", "p = 0.025"),
        ("examples.html:", "taught, mood: ", "p = 0.025"),
    ),
    "the p of a test over examples in CSV": (
        edited("examples.csv", ",0.25,0.25,0.25,", ",0.025,0.25,0.25,"),
        ("row taught, column mood, p_examples:", "found `0.025`", "taught/student-seed0.json"),
    ),
    "the name of a test over examples": (
        edited("examples.csv", "McNemar", "sign test"),
        ("row taught, column mood, test_over_examples:", "taught/student-seed0.json"),
    ),
    "why there is no test over examples": (
        lines("examples.md", lambda found: [x for x in found if "not tested" not in x]),
        ("examples.md:", "taught, calibration: not tested", "is missing"),
    ),
    "tests over examples switched off": (
        edited("examples.yaml", "examples: true", "examples: false"),
        ("row taught, column mood, test_over_examples:", "found `McNemar`"),
    ),
    "a prediction, signed again": (
        predictions_signed_again,
        (
            "examples.yaml: table examples, row taught, column mood: taught/student-seed0.json",
            "0.875",
            "but 1.0 follows",
        ),
    ),
    "predictions of another run, signed again": (
        moved_predictions,
        ("examples.yaml: table examples, row taught, column mood: taught/student-seed0.json", "cannot be read"),
    ),
    "a deleted table": (removed("main.html", from_tables=True), ("main.html: is missing",)),
    "an extra table": (added("old.html", "<p>"), ("old.html: has no table file",)),
    "another baseline": (edited("main.yaml", "baseline: alone", "baseline: hint"), CELL[:1]),
    "another column under a label": (edited("main.yaml", "score: ner.entity_f1", "score: ner.f1"), CELL[:1]),
    "a record's score": (record(SEED1, at(SCORE, 0.9)), DISTILLED),
    "a record's score, signed again": (record(SEED1, at(SCORE, 0.9), honest=True), CELL),
    "a record's other number": (record(SEED1, at("peak_memory", 1)), DISTILLED),
    "a 17th digit": (lambda tables, ledger: spaced(ledger / SEED1), DISTILLED),
    "a record cut": (lambda tables, ledger: cut(ledger / SEED1), DISTILLED),
    "a prediction": (predictions, DISTILLED),
    "predictions taken": (removed("quickstart/student-seed1.parquet"), DISTILLED),
    "a seed copied over another": (copied("quickstart/student-seed0.json", SEED1), DISTILLED),
    "a seed copied as a new one": (
        copied("quickstart/student-seed0.json", "quickstart/student-seed7.json"),
        ("row distilled", "quickstart/student-seed7.json"),
    ),
    "a record of another experiment": (copied("alone/student-seed1.json", SEED1), DISTILLED),
    "a missing seed": (
        removed(SEED1, "quickstart/student-seed1.parquet"),
        ("row distilled, every column: no record of seed 1", "'seeds=[1]'"),
    ),
    "a missing teacher": (
        removed("quickstart/teacher-text-seed0.json", "quickstart/teacher-text-seed0.parquet"),
        ("row text, column NER",),
    ),
    "an unfinished copy": (removed(SEED1), ("quickstart/student-seed1.parquet: goes with no record",)),
    "a stray file of the ledger": (added("quickstart/note.txt", "x", False), ("note.txt: goes with no record",)),
    "a dirty run": (record(SEED1, at("code", DIRTY), honest=True), DISTILLED),
    "mixed data": (record(SEED1, at("data", {"market_notes": "0ther"}), honest=True), DISTILLED),
    "another selection rule": (record(SEED1, at("selection.metric", "ner.entity_f1"), honest=True), DISTILLED),
    "another direction": (
        record(SEED1, at("scores.test.ner.entity_f1.direction", "minimize"), honest=True),
        (SEED1, "column NER"),
    ),
    "another experiment": (record(SEED1, at("experiment_hash", "0ther"), honest=True), DISTILLED),
    "mixed packages": (record(SEED1, at("packages.torch", "2.14.0"), honest=True), DISTILLED),
    "mixed machines of times": (
        record(SEED1, at("machine.cpu", "Another CPU"), honest=True),
        ("table times, row distilled, time", SEED1),
    ),
}


def spaced(path: Path) -> None:
    text = path.read_text("utf-8")
    path.write_text(text.replace('"value": 0.74', '"value": 0.74000000000000001', 1), "utf-8")


def cut(path: Path) -> None:
    path.write_text(path.read_text("utf-8")[:300], "utf-8")


def test_the_untouched_tables_have_no_fault(tables: Path, ledger: Path) -> None:
    before = {path: path.read_bytes() for path in tables.iterdir()}
    assert check_tables(tables, ledger) == []
    assert {path: path.read_bytes() for path in tables.iterdir()} == before


@pytest.mark.parametrize("what", CASES)
def test_tampering_is_found_and_named(tables: Path, ledger: Path, what: str) -> None:
    change, words = CASES[what]
    before = {path: path.read_bytes() for folder in (tables, ledger) for path in folder.rglob("*") if path.is_file()}
    change(tables, ledger)
    after = {path: path.read_bytes() for folder in (tables, ledger) for path in folder.rglob("*") if path.is_file()}
    assert before != after, "nothing was tampered with"
    problems = check_tables(tables, ledger)
    assert any(all(word in problem for word in words) for problem in problems), problems


@pytest.mark.parametrize("what", ["mixed packages", "mixed machines of times", "a missing seed"])
def test_what_a_new_table_would_show_is_named_all_the_same(tables: Path, ledger: Path, what: str) -> None:
    """Written again, the tables follow from the records; these faults are of the records."""
    change, words = CASES[what]
    change(tables, ledger)
    write_tables(tables, ledger, tables)
    kind = "no record of seed 1" if what == "a missing seed" else what[: len("mixed machines")].strip()
    problems = check_tables(tables, ledger)
    assert any(all(word in problem for word in words) for problem in problems)
    assert all(kind in problem for problem in problems), problems


@pytest.mark.parametrize(
    "change", [at("machine.cpu", "Another CPU"), at("packages.mmkd", "9"), at("seconds.train", 9.0)]
)
def test_scores_may_come_from_unlike_machines(
    tables: Path, ledger: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    (tables / "times.yaml").unlink()
    for path in tables.glob("times.*"):
        path.unlink()
    record(SEED1, change, honest=True)(tables, ledger)
    write_tables(tables, ledger, tables)
    assert check_tables(tables, ledger) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            at("packages.torch", "2.14.0"),
            ("row distilled, every column: mixed packages", "torch 2.15.0 and 2.14"),
        ),
        (at("machine.threads", 8), ("table times, row distilled, time: mixed machines", "threads 1 and 8")),
    ],
)
def test_a_row_is_held_to_the_one_that_it_is_compared_with(
    tables: Path, ledger: Path, change: Callable[[dict[str, Any]], None], words: tuple[str, ...]
) -> None:
    """All runs of the row agree, but not with those of `alone`."""
    for path in ledger.glob("quickstart/student-*.json"):
        record(f"quickstart/{path.name}", change, honest=True)(tables, ledger)
    write_tables(tables, ledger, tables)
    problems = check_tables(tables, ledger)
    assert len(problems) == 3 and all(word in problem for problem in problems for word in words)
    names = [f"alone/student-seed0.json and quickstart/student-seed{seed}.json" for seed in range(3)]
    assert all(name in problem for name, problem in zip(names, problems, strict=True))
