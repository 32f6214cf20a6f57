"""The page of experiments: its numbers are those of the records, its text is text, it needs nothing from elsewhere."""

import hashlib
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmkd.disk import DiskError
from mmkd.places import Places
from mmkd.record import Code, RecordError, RunRecord, Score, read_record, write_record
from mmkd.report.error import ReportError
from mmkd.report.page import write as write_module
from mmkd.report.page.examples import Pair, warning
from mmkd.report.page.write import write_report
from mmkd.report.variants import as_variant
from tests.report.conftest import MakeRecord, WriteRecords

ROOT = Path(__file__).resolve().parents[3]
VOID = {"meta", "img", "br"}
EVIL = "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>"


class Read(HTMLParser):
    """Checks that every tag is closed in its place, and keeps text by tag, attributes, and the cells of each line."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.lines: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.attributes += [(tag, *each) for each in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.lines.append([])
        if tag in ("td", "th"):
            self.lines[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.attributes += [(tag, *each) for each in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.lines[-1][-1] += data

    def line(self, name: str, place: int | None = None) -> list[str]:
        """The line that begins so: the only one, or one of several."""
        found = [cells for cells in self.lines if cells[0] == name]
        assert len(found) == 1 or place is not None
        return found[place or 0]


def experiment(name: str, **changes) -> dict:
    return {"name": name, "description": "", "train": {"epochs": 2}, "losses": {}} | changes


@pytest.fixture
def records(make_record: MakeRecord) -> list[RunRecord]:
    kl = {"soft": {"kind": "logit_kl", "temperature": 2.0}}
    new = experiment("new", train={"epochs": 7}, losses=kl, description="with a teacher")
    score = {"ner": {"entity_f1": 0.9, "accuracy": 0.95}}
    history = [{"epoch": e, "validation": {"ner": {"entity_f1": 0.3 + e / 10}}} for e in range(2)]
    made = [
        make_record(
            name,
            seed,
            test={"ner": {"entity_f1": value, "accuracy": value * 0.4}},
            experiment=plain,
            experiment_hash=hashlib.sha256(name.encode()).hexdigest(),
            seconds={"teach": 10.0 + seed, "cache": 5.0, "train": 60.0 + seed},
            trained_parameters=1_000_000,
            flops=2.5e6,
            history=history,
        )
        for name, plain, values in (("base", experiment("base"), (0.50, 0.52)), ("new", new, (0.55, 0.60)))
        for seed, value in enumerate(values)
    ]
    return [*made, make_record("new", 0, "bert", test=score, experiment=new, seconds={"train": 33.0})]


def places_of(tmp_path: Path) -> Places:
    (tmp_path / "data_cards").mkdir(exist_ok=True)
    return Places(tmp_path)


def page_of(tmp_path: Path, folder: Path, *names: str, **changes) -> str:
    options = {"tables": (), "figures": (), "examples": 0, "title": "A title", "question": "Does it help?"} | changes
    out = write_report(places_of(tmp_path), names, records_folder=folder, out=tmp_path / "out" / "page.html", **options)
    assert [path.name for path in out.parent.iterdir()] == ["page.html"]
    return out.read_text("utf-8")


def test_scores_are_those_of_the_records(tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords):
    page = Read(page_of(tmp_path, write_ledger(*records), "base", "new"))
    assert page.line("base", 0) == ["base", "51.0 ± 1.4", "2"]
    assert page.line("new", 0) == ["new", "57.5 ± 3.5", "2"]
    assert page.line("new", 1) == ["new", "57.5 ± 3.5", "23.0 ± 1.4", "2"]  # accuracy: 22 and 24
    assert page.line("new, teacher bert", 0) == ["new, teacher bert", "90.0", "1"]


def test_costs_are_means_of_the_records(tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords):
    page = Read(page_of(tmp_path, write_ledger(*records), "base", "new"))
    whole, shared = (75 + 77) / 2, (15 / 75 + 16 / 77) / 2
    numbers = ["2", "10.5", "5.0", "60.5", f"{whole:.1f}", f"{shared:.0%}", "1,234,567", "1,000,000", "2.5", "3"]
    assert page.line("new, student") == ["new, student", *numbers]
    teacher = ["1", "–", "–", "33.0", "33.0", "–", "1,234,567", "–", "–", "3"]
    assert page.line("new, teacher bert", -1)[1:] == teacher


def test_what_differs_from_the_first_experiment(tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords):
    text = page_of(tmp_path, write_ledger(*records), "base", "new")
    page = Read(text)
    assert page.line("differs in") == ["differs in", "base", "new"]
    assert page.line("train.epochs") == ["train.epochs", "2", "7"]
    assert page.line("losses.soft") == ["losses.soft", "–", '{"kind": "logit_kl", "temperature": 2.0}']
    assert not [cells for cells in page.lines if cells[0].startswith("losses.soft.") or cells[0] == "name"]
    assert "temperature: 2.0\n" in text and "<p>with a teacher</p>" in text and "<p>Does it help?</p>" in text


def test_keys_are_compared_with_the_most_similar_experiment_before(
    tmp_path: Path, records: list[RunRecord], make_record: MakeRecord, write_ledger: WriteRecords
):
    new = next(each for each in records if each.name == "new").experiment
    longer = make_record("longer", 0, experiment=new | {"name": "longer", "train": {"epochs": 9}})
    page = Read(page_of(tmp_path, write_ledger(*records, longer), "base", "new", "longer"))
    assert page.line("differs in", -1) == ["differs in", "new", "longer"]
    assert [c for c in page.lines if c[0] == "train.epochs"] == [["train.epochs", "2", "7"], ["train.epochs", "7", "9"]]
    assert len([cells for cells in page.lines if cells[0] == "losses.soft"]) == 1


def test_the_first_name_is_what_others_are_compared_with(
    tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords
):
    page = page_of(tmp_path, write_ledger(*records), "new", "base")
    assert Read(page).line("train.epochs") == ["train.epochs", "7", "2"]
    assert "gain over new" in page and "gain over base" not in page


def test_origin_and_commands(tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords):
    records[2] = records[2].model_copy(update={"test_openings": 3})
    page = Read(text := page_of(tmp_path, write_ledger(*records), "base", "new", command="mmkd report base new"))
    assert page.line("code") == ["code", "all", "0.1.0, commit " + "c0ffee" * 6 + "c0ff"]
    assert "torch 2.15.0" in page.line("packages")[2] and "Example CPU" in page.line("machine")[2]
    assert page.line("data")[2] == "market_notes da7ada7ada7a"
    opened = {told: who for name, who, told in (c for c in page.lines if c[0] == "test split opened")}
    assert opened == {
        "once": "base, student; new, student; new, teacher bert",
        "seed 0: 3 times: it may have been chosen by it": "new, student",
    }
    commands = ["mmkd run experiments/base.yaml", "mmkd run experiments/new.yaml", "mmkd report base new"]
    assert f"<pre>{chr(10).join(commands)}</pre>" in text


def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords):
    text = page_of(tmp_path, write_ledger(*records), "base", "new")
    page = Read(text)
    loads = [value for _, name, value in page.attributes if name in ("src", "href", "xlink:href", "srcset", "data")]
    assert [value for value in loads if not re.match("#|data:", value or "")] == []
    assert {tag for tag, _, _ in page.attributes}.isdisjoint({"script", "link", "iframe", "object"})
    assert "@import" not in text and re.findall(r"url\((?!#)", text) == [] and text.count("<svg") == 2


def test_text_that_would_be_code_is_shown_and_not_run(
    tmp_path: Path, make_record: MakeRecord, write_ledger: WriteRecords
):
    plain = experiment("base", description=EVIL, losses={EVIL: {"kind": EVIL}})
    fields = {"command": EVIL, "packages": {EVIL: EVIL}, "data": {EVIL: EVIL}, "seconds": {EVIL: 1.0}}
    ledger = write_ledger(
        make_record("base", 0, experiment=plain, **fields),
        make_record("new", 0, experiment=experiment("new", description=EVIL), **fields),
    )
    text = page_of(tmp_path, ledger, "base", "new", title=EVIL, question=EVIL, command=EVIL)
    tags = {tag for tag, _, _ in Read(text).attributes}
    assert "<script" not in text and "<img" not in text and "img" not in tags
    assert (
        text.count("alert(1)") >= 2 * 10
    )  # title, question, descriptions, keys, YAML, packages, data, phase, commands


def test_table_and_figure_files_take_the_place_of_what_is_usual(
    tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords
):
    table, figure = tmp_path / "t.yaml", tmp_path / "f.yaml"
    rows = "{one: {experiment: base}, other: {experiment: new}}"
    table.write_text(f"title: the table\nrows: {rows}\ncolumns: {{F1: {{score: ner.entity_f1}}}}\nbaseline: one\n")
    figure.write_text(f"kind: gain\ntitle: the figure\nrows: {rows}\nbaseline: one\nscores: {{F1: ner.entity_f1}}\n")
    text = page_of(tmp_path, write_ledger(*records), "base", tables=(table,), figures=(figure,))
    page = Read(text)
    assert page.line("other") == ["other", "57.5 ± 3.5", "2"] and text.count("<svg") == 1
    assert "the table" in text and "the figure" in text and "scores on test" not in text
    assert page.line("new, student")[1] == "2"  # what a table rests on is named with its costs, though not asked for


def test_a_variant_stands_on_the_page_where_a_table_shows_it(
    tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords, make_record: MakeRecord
):
    other = make_record("base", 0, test={"ner": {"entity_f1": 0.4}}, experiment=experiment("base", train={"epochs": 9}))
    variant = as_variant(other.model_copy(update={"experiment_hash": "abcdef0123" * 6}))
    ledger = write_ledger(*records, variant)
    assert "abcdef01" not in page_of(tmp_path, ledger, "base")
    table = tmp_path / "t.yaml"
    table.write_text(
        "title: t\nrows: {e: {experiment: base, vary: train.epochs}}\ncolumns: {F1: {score: ner.entity_f1}}\n"
    )
    page = Read(page_of(tmp_path, ledger, "base", tables=(table,)))
    assert page.line("e 9") == ["e 9", "40.0", "1"]
    assert page.line("base/abcdef01, student")[1] == "1" and page.line("train.epochs") == ["train.epochs", "2", "9"]


def test_experiments_of_unlike_tasks_have_no_mean(tmp_path: Path, make_record: MakeRecord, write_ledger: WriteRecords):
    one = make_record("base", 0, test={"ner": {"entity_f1": 0.5}, "risk": {"qwk": 0.25}})
    other = make_record("new", 0, test={"ner": {"accuracy": 0.5}})
    page = Read(page_of(tmp_path, write_ledger(one, other), "base", "new"))
    assert page.lines[0] == ["", "ner entity_f1 ↑", "risk qwk ↑", "ner accuracy ↑", "n"]
    assert page.lines[1] == ["base", "50.0", "25.0", "–", "1"]


def test_runs_without_a_test_score_are_shown_on_validation(
    tmp_path: Path, make_record: MakeRecord, write_ledger: WriteRecords
):
    score = {"ner": {"entity_f1": Score(value=0.125, n=3)}}
    record = make_record("base", 0, test={"ner": {"entity_f1": 0.5}}, scores={"validation": score})
    text = page_of(tmp_path, write_ledger(record), "base")
    assert Read(text).lines[1] == ["base", "12.5", "1"] and "scores on validation" in text


def test_a_name_without_records_is_refused(tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords):
    with pytest.raises(ReportError, match=r"nothing: no record in .*records; it has base, new; run the experiment"):
        page_of(tmp_path, write_ledger(*records), "base", "nothing")


def test_a_changed_record_is_refused(tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords):
    ledger = write_ledger(*records)
    path = ledger / "base" / "student-seed0.json"
    path.write_text(path.read_text("utf-8").replace("0.5,", "0.6,"), "utf-8")
    with pytest.raises(RecordError, match="does not match its own sha256"):
        page_of(tmp_path, ledger, "base")


def test_uncommitted_code_is_refused_in_the_ledger_and_told_of_scratch_runs(
    tmp_path: Path, make_record: MakeRecord, write_runs: WriteRecords
):
    record = make_record("base", 0, code=Code(version="0.1.0", commit="c0ffee" * 6, diff="d1ff" * 16))
    assert "with uncommitted changes d1ffd1ffd1ff" in page_of(tmp_path, write_runs(record), "base")
    places = places_of(tmp_path)
    shutil.copytree(tmp_path / "runs", places.records)
    with pytest.raises(ReportError, match=r"record.json: it was run with uncommitted changes .* commit, run"):
        page_of(tmp_path, places.records, "base")


def test_two_experiments_of_one_name_are_refused(
    tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords, make_record: MakeRecord
):
    ledger = write_ledger(*records, make_record("base", 7, experiment_hash="f" * 64))
    table = tmp_path / "t.yaml"
    table.write_text("title: t\nrows: {e: {experiment: new}}\ncolumns: {F1: {score: ner.entity_f1}}\n")
    with pytest.raises(ReportError, match=r"different experiments that are both named base: .* or rename one"):
        page_of(tmp_path, ledger, "base", tables=(table,))


def test_a_page_is_whole_or_as_it_was(
    tmp_path: Path, records: list[RunRecord], write_ledger: WriteRecords, monkeypatch: pytest.MonkeyPatch
):
    ledger = write_ledger(*records)
    before = page_of(tmp_path, ledger, "base")

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(write_module, "write", full)
    with pytest.raises(DiskError, match="make room"):
        page_of(tmp_path, ledger, "new")
    assert page_of_file(tmp_path) == before


def page_of_file(tmp_path: Path) -> str:
    (path,) = (tmp_path / "out").iterdir()
    return path.read_text("utf-8")


TASKS = {"mood": {"kind": "classify", "labels": ["bad", EVIL]}}


def with_predictions(record: RunRecord, folder: Path, classes: list[int]) -> None:
    """A record in the ledger with predictions of `mood`, of which the second class is always right."""
    path = folder / record.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    same = {"task": "mood", "labels": [1], "probabilities": [0.25, 0.75], "value": None}
    rows = [same | {"id": f"r{n}", "predictions": [c]} for n, c in enumerate(classes)]
    pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
    digest = hashlib.sha256(path.with_suffix(".parquet").read_bytes()).hexdigest()
    write_record(record.model_copy(update={"predictions": digest}), path)
    assert read_record(path).predictions == digest


def test_rows_that_differ_stand_on_the_page_with_what_each_network_says(tmp_path: Path, make_record: MakeRecord):
    fields = {"experiment": experiment("new", tasks=TASKS), "data": {"x/test": "1"}}
    with_predictions(make_record("new", 3, **fields), tmp_path / "records", [1, 0, 1, 0])
    with_predictions(make_record("new", 0, "bert", **fields), tmp_path / "records", [1, 1, 0, 0])
    fields["experiment"] = experiment("base", tasks=TASKS)
    with_predictions(make_record("base", 3, **fields), tmp_path / "records", [0, 0, 0, 0])
    text = page_of(tmp_path, tmp_path / "records", "base", "new", examples=6)
    page = Read(text)
    assert "new, seed 3: student and teacher bert" in text and "new and base, seed 3: their students" in text
    teacher, students = (cells for cells in page.lines if cells[0] == "mood")
    assert teacher == ["mood", "4", "2", "1", "1", "0"] and students == ["mood", "4", "2", "2", "0", "0"]
    assert re.findall(r'<p class="id">(r\d)</p>', text) == ["r2", "r1", "r0", "r2"]
    assert text.count('<dd class="right">') == 4 and "<script" not in text and "0.75</small>" in text
    assert "this page holds rows" not in text  # there is no text and no image of the rows


def test_a_page_that_holds_rows_names_their_licences():
    pair = Pair("a", "one", "other", "test", (), {}, (), ("Notes (licence mit)", "Memes <2> (licence other)"))
    assert "holds rows of Notes (licence mit); Memes &lt;2&gt; (licence other)." in warning([pair, pair])


def test_networks_that_saw_other_rows_are_not_compared(tmp_path: Path, make_record: MakeRecord):
    for name, key in (("base", "1"), ("new", "2")):
        record = make_record(name, 0, experiment=experiment(name, tasks=TASKS), data={"x/test": key, "x/train": "1"})
        with_predictions(record, tmp_path / "records", [1, int(name == "new"), *([1] if name == "new" else [])])
    text = page_of(tmp_path, tmp_path / "records", "base", "new", examples=6)
    assert "mood: not compared: the two were not evaluated on the same rows" in text and "<article" not in text


def test_rows_of_other_fingerprints_are_compared_where_ids_and_labels_agree(tmp_path: Path, make_record: MakeRecord):
    for name, key in (("base", "1"), ("new", "2")):
        record = make_record(name, 0, experiment=experiment(name, tasks=TASKS), data={"x/test": key})
        with_predictions(record, tmp_path / "records", [1, int(name == "new")])
    text = page_of(tmp_path, tmp_path / "records", "base", "new", examples=6)
    assert "The data of the two have other fingerprints" in text and text.count("<article") == 1


def test_splits_that_differ_are_not_compared(tmp_path: Path, make_record: MakeRecord):
    score = {"ner": {"entity_f1": Score(value=0.5, n=3)}}
    for name, scores in (("base", {"validation": score}), ("new", {"validation": score, "test": score})):
        record = make_record(name, 0, scores=scores, experiment=experiment(name, tasks=TASKS))
        with_predictions(record, tmp_path / "records", [1, int(name == "new")])
    text = page_of(tmp_path, tmp_path / "records", "base", "new", examples=6)
    assert "Not compared: one was evaluated on test, the other on validation." in text and "<article" not in text


def test_tasks_of_other_labels_are_not_compared(tmp_path: Path, make_record: MakeRecord):
    for name, labels in (("base", ["bad", "good"]), ("new", ["good", "bad"])):
        tasks = {"mood": {"kind": "classify", "labels": labels}}
        record = make_record(name, 0, experiment=experiment(name, tasks=tasks), data={"x/test": "1"})
        with_predictions(record, tmp_path / "records", [1, int(name == "new")])
    text = page_of(tmp_path, tmp_path / "records", "base", "new", examples=6)
    assert "mood: not compared: the two have other labels, or in another order" in text and "<article" not in text


def test_of_variants_no_rows_are_shown(tmp_path: Path, make_record: MakeRecord):
    plain = experiment("new", tasks=TASKS)
    made = [make_record("new", 0, t, experiment=plain, data={"x/test": "1"}) for t in (None, "bert")]
    other = {"experiment": experiment("new", tasks=TASKS, train={"epochs": 9}), "experiment_hash": "a" * 64}
    for record, classes in zip(made, ([1, 0], [0, 1]), strict=True):
        with_predictions(record, tmp_path / "records", classes)
        with_predictions(as_variant(record.model_copy(update=other)), tmp_path / "records", classes)
    table = tmp_path / "t.yaml"
    table.write_text("title: t\nrows: {e: {experiment: new, vary: train.epochs}}\ncolumns: {N: {value: parameters}}\n")
    text = page_of(tmp_path, tmp_path / "records", "new", tables=(table,), examples=6)
    assert "<h3>new/aaaaaaaa " in text and "new, seed 0: student and teacher bert" in text
    assert text.count("<article") == 2 and ": their students" not in text


def test_the_command_writes_the_page_of_scratch_runs(
    tmp_path: Path, records: list[RunRecord], write_runs: WriteRecords
):
    places = places_of(tmp_path)
    places.runs.parent.mkdir()
    shutil.move(write_runs(*records), places.runs)
    command = [sys.executable, "-m", "mmkd", "report", "base", "new", "--runs", "--examples", "0"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "wrote results/runs/reports/base-new.html\n")
    text = (places.runs / "reports" / "base-new.html").read_text("utf-8")
    assert "mmkd report base new --runs --examples 0</pre>" in text
    done = subprocess.run(
        [*command[:4], "no"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "no such folder" in done.stderr
