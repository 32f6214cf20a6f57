"""A study runs what has no record and no more, keeps it, and writes the same tables again from an empty ledger."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import mmkd.cli
import mmkd.study
from mmkd.errors import CheckFailed
from mmkd.interrupt import Interrupted
from mmkd.places import Places
from mmkd.record import RecordError
from mmkd.report.fill import filling_commands
from mmkd.report.tables import check_tables, tables_of
from mmkd.study import StudyError, load_study, plan_study, run_study

CARDS = Path(__file__).parent.parent / "data_cards"
EXPERIMENT = """\
name: base
data:
  digits: {card: digits, limit: {train: 64, validation: 32, test: 32}}
tasks:
  digit: {kind: classify}
student:
  image: {pixels: {width: 8, side: 8}, size: 8}
  width: 8
losses:
  digit: {kind: supervised, task: digit}
weighting: {kind: fixed}
train: {epochs: 1, batch_size: 16, lr: 1e-2, threads: 1}
seeds: [7]
"""
STUDY = """\
title: rates
question: Does a higher rate help?
seeds: [0, 1]
runs:
  base: {experiment: ../base.yaml}
  faster: {experiment: ../base.yaml, set: {train.lr: 0.1, data.digits.limit: {train: 64, validation: 32, test: 32}}}
tables: [rates]
figures: [rates]
"""
TABLE = """\
title: rates
rows: {base: {experiment: base}, faster: {experiment: faster}}
columns: {accuracy: {score: digit.accuracy}}
baseline: base
"""
FIGURE = """\
kind: gain
title: rates
rows: {base: {experiment: base}, faster: {experiment: faster}}
baseline: base
scores: {accuracy: digit.accuracy}
"""


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True, capture_output=True)


def make(root: Path) -> Path:
    """A project with a study, all of it committed; the study file."""
    (root / "data_cards").mkdir(parents=True)
    shutil.copy(CARDS / "digits.md", root / "data_cards")
    files = {
        "experiments/base.yaml": EXPERIMENT,
        "experiments/studies/rates.yaml": STUDY,
        "results/tables/rates.yaml": TABLE,
        "results/figures/rates.yaml": FIGURE,
        ".gitignore": "results/runs\nresults/cache\nresults/teachers\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, "utf-8")
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-qm", "all")
    return root / "experiments" / "studies" / "rates.yaml"


def in_process(command: str, root: Path) -> int:
    """What `run_command` does, without the time that a process of its own takes to begin."""
    _, *arguments = shlex.split(command)
    with contextlib.chdir(root):
        return CliRunner().invoke(mmkd.cli.app, arguments).exit_code


def study_of(file: Path, scratch: bool = False) -> tuple[list[str], list[Path]]:
    """What is said, and what is written."""
    said: list[str] = []
    return said, run_study(load_study(file), file, Places.near(file), said.append, scratch=scratch)


def made(root: Path) -> dict[str, bytes]:
    """Tables and figures' numbers, by name; two drawings of equal numbers may differ."""
    found = [*(root / "results" / "tables").glob("*"), *(root / "results" / "figures").glob("*.json")]
    return {path.name: path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str], list[Path]]:
    """A study from nothing. Not to be changed."""
    file = make(tmp_path_factory.mktemp("study") / "project")
    return file, *study_of(file)


@pytest.fixture
def copied(done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to be changed, whose runs begin in this process."""
    monkeypatch.setattr(mmkd.study, "run_command", in_process)
    root = Places.near(done[0]).root
    shutil.copytree(root, tmp_path / "project")
    return tmp_path / "project" / done[0].relative_to(root)


def test_from_nothing_all_is_run_kept_and_written(done) -> None:
    file, said, written = done
    places = Places.near(file)
    assert [line.split(": ")[0] for line in said] == ["1 of 2", "2 of 2"]
    assert "mmkd run experiments/base.yaml 'seeds=[0,1]'" in said[0]
    assert """'name="faster"' train.lr=0.1""" in said[1]
    names = sorted(path.relative_to(places.records).as_posix() for path in places.records.rglob("*.json"))
    assert names == [f"{name}/student-seed{seed}.json" for name in ("base", "faster") for seed in (0, 1)]
    assert {path.name for path in written} == {
        *(f"rates.{suffix}" for suffix in ("md", "tex", "csv", "html", "json", "pdf", "png"))
    }
    page = (places.runs / "reports" / "rates.html").read_text("utf-8")
    assert page in {path.read_text("utf-8") for path in written if path.suffix == ".html"}
    assert "Does a higher rate help?" in page
    assert check_tables(places.tables, places.records, places.root) == []


def test_again_nothing_runs_and_all_stays(copied: Path) -> None:
    before = made(Places.near(copied).root)
    said, _ = study_of(copied)
    assert said == [] and made(Places.near(copied).root) == before


def test_from_an_empty_results_folder_the_same_tables_come_out(copied: Path) -> None:
    places = Places.near(copied)
    before = made(places.root)
    shutil.rmtree(places.records)
    shutil.rmtree(places.runs)
    for path in [*places.tables.iterdir(), *places.figures.iterdir()]:
        if path.suffix != ".yaml":
            path.unlink()
    said, _ = study_of(copied)
    assert len(said) == 2 and made(places.root) == before


def test_only_the_seed_without_a_record_runs(copied: Path) -> None:
    places = Places.near(copied)
    before = made(places.root)
    shutil.rmtree(places.runs)
    (places.records / "faster" / "student-seed1.json").unlink()
    (places.records / "faster" / "student-seed1.parquet").unlink()
    said, _ = study_of(copied)
    assert len(said) == 1 and said[0].endswith("'seeds=[1]'") and made(places.root) == before


def test_what_the_study_says_otherwise_is_run_again_in_place_of_the_old(copied: Path) -> None:
    places = Places.near(copied)
    copied.write_text(STUDY.replace("train.lr: 0.1", "train.lr: 0.05"), "utf-8")
    git(places.root, "commit", "-qam", "slower")
    said, _ = study_of(copied)
    assert len(said) == 1 and "train.lr=0.05" in said[0]
    record = json.loads((places.records / "faster" / "student-seed0.json").read_text("utf-8"))
    assert record["experiment"]["train"]["lr"] == 0.05
    assert check_tables(places.tables, places.records, places.root) == []


def test_scratch_runs_leave_the_ledger_and_need_no_commit(copied: Path) -> None:
    places = Places.near(copied)
    before = made(places.root)
    (places.root / "notes.txt").write_text("not committed", "utf-8")
    shutil.rmtree(places.records)
    said, written = study_of(copied, scratch=True)
    assert said == []  # the runs are there, the commit aside
    assert all(path.is_relative_to(places.runs) for path in written) and not places.records.exists()
    assert made(places.root) == before


def test_code_that_no_commit_holds_is_refused_before_anything_runs(copied: Path) -> None:
    places = Places.near(copied)
    shutil.rmtree(places.records)
    (places.root / "notes.txt").write_text("not committed", "utf-8")
    with pytest.raises(StudyError, match=r"has changes that are not committed; .* commit, or give --runs"):
        study_of(copied)
    shutil.rmtree(places.root / ".git")
    with pytest.raises(StudyError, match="is in no repository"):
        study_of(copied)


def test_a_run_that_breaks_off_is_named_and_the_others_go_on(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places.near(copied)
    shutil.rmtree(places.records)
    calls: list[str] = []

    def pretend(command: str, root: Path) -> int:
        calls.append(command)
        return 1 if "faster" not in command else 0

    monkeypatch.setattr(mmkd.study, "run_command", pretend)
    with pytest.raises(CheckFailed, match=r"run base broke off with exit code 1: mmkd run experiments/base\.yaml"):
        study_of(copied)
    assert len(calls) == 2
    assert "no record of experiment `base`" in (places.tables / "rates.md").read_text("utf-8")
    assert (places.records / "faster").is_dir() and not (places.records / "base").exists()


def test_where_every_run_breaks_off_that_is_said_and_nothing_is_written(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places.near(copied)
    shutil.rmtree(places.records)
    before = made(places.root)
    monkeypatch.setattr(mmkd.study, "run_command", lambda command, root: 1)
    with pytest.raises(CheckFailed, match=r"run base broke off(.|\n)*run faster broke off"):
        study_of(copied)
    assert made(places.root) == before and not places.records.exists()


def test_asked_to_stop_it_stops_and_goes_on_later(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(Places.near(copied).records)
    monkeypatch.setattr(mmkd.study, "run_command", lambda command, root: Interrupted.exit_code)
    with pytest.raises(Interrupted, match="stopped in run base"):
        study_of(copied)


def test_all_that_is_wrong_is_said_at_once(copied: Path) -> None:
    places = Places.near(copied)
    copied.write_text(
        "title: t\nquestion: q\nseeds: [0]\ntables: [rates, absent]\nfigures: [none]\nruns:\n"
        "  one: {experiment: ../base.yaml, set: {train.rate: 3}}\n"
        "  two: {experiment: ../other.yaml}\n"
        "  three: {experiment: ../../../../elsewhere.yaml}\n",
        "utf-8",
    )
    with pytest.raises(StudyError) as raised:
        plan_study(load_study(copied), copied, places, places.records)
    lines = str(raised.value).splitlines()
    assert any("runs.one" in line and "train.rate" in line for line in lines)
    assert any("runs.two" in line and "other.yaml" in line for line in lines)
    assert any("runs.three" in line and "outside of" in line for line in lines)
    assert any("found absent; expected a file results/tables/absent.yaml" in line for line in lines)
    assert any("found none; expected a file results/figures/none.yaml" in line for line in lines)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("set: {train.lr", "set: {seeds: [1], train.lr"), "faster: set: found `seeds`, which the study says"),
        (("set: {train.lr", "set: {name: x, train.lr"), "faster: set: found `name`, which the study says"),
        (("seeds: [0, 1]", "seeds: [0, 0]"), "expected each seed once"),
        (("seeds: [0, 1]", "seeds: []"), "seeds"),
    ],
)
def test_a_study_file_is_refused_with_its_line(copied: Path, change: tuple[str, str], message: str) -> None:
    copied.write_text(STUDY.replace(*change), "utf-8")
    with pytest.raises(Exception, match=r"rates.yaml:\d+") as raised:
        load_study(copied)
    assert message in str(raised.value)


def test_what_a_table_lacks_is_made_by_the_words_of_the_study(copied: Path) -> None:
    places = Places.near(copied)
    shutil.rmtree(places.records / "faster")
    (command,) = filling_commands(tables_of(places.tables, places.records))
    assert command.startswith("mmkd run experiments/base.yaml 'name=\"faster\"' train.lr=0.1 ")


def test_a_tampered_record_is_refused(copied: Path) -> None:
    places = Places.near(copied)
    path = places.records / "base" / "student-seed0.json"
    path.write_text(path.read_text("utf-8").replace('"seed": 0', '"seed": 1'), "utf-8")
    with pytest.raises(RecordError, match=r"student-seed0\.json"):
        study_of(copied)


def test_the_command_line_prints_what_is_lacking(copied: Path) -> None:
    root = Places.near(copied).root
    shutil.rmtree(root / "results" / "records" / "faster")
    environment = os.environ | {"PYTHONPATH": str(CARDS.parent)}
    words = [sys.executable, "-m", "mmkd", "study", str(copied), "--dry-run"]
    said = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("\n") == 1 and said.stdout.startswith("mmkd run experiments/base.yaml 'name=\"faster\"'")
