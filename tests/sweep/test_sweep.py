"""Whole sweeps on Ray, as a user runs them; slow ones are killed, interrupted, hung and damaged on the way."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mmkd.config.problems import ConfigError
from mmkd.config.section_file import load_section
from mmkd.config.sweep_file import Sweep
from mmkd.record import read_record
from mmkd.sweep.journal import read_journal
from mmkd.sweep.trials import FAILED, FINISHED, WENT_ON, Trial, trials_of
from test_cli import EXPERIMENT, ROOT

SWEEP = """\
experiment: ../tiny.yaml
trials: 3
search: {kind: optuna, ahead: 2}
stop_early: {kind: asha, grace_epochs: 1}
space:
  losses.text_ner.temperature: {log_uniform: [1, 8]}
  weighting.kind: {choice: [fixed, uncertainty]}
"""
HANGS = """\
from mmkd.losses import supervised
import os, time
from pathlib import Path
class Config(supervised.Config):
    kind: str
class Loss(supervised.Loss):
    def forward(self, *arguments, **named):
        mark = Path(os.environ["HUNG"])
        if not mark.exists():
            mark.touch()
            time.sleep(10_000)
        return super().forward(*arguments, **named)
"""


def project_in(folder: Path) -> Path:
    (folder / "data_cards").mkdir(parents=True)
    (folder / "data_cards" / "market_notes.md").write_bytes((ROOT / "data_cards" / "market_notes.md").read_bytes())
    text = EXPERIMENT.replace("epochs: 1, threads: 1", "epochs: 2, threads: 1, preflight: false")
    (folder / "tiny.yaml").write_text(text, "utf-8")
    (folder / "sweeps").mkdir()
    (folder / "sweeps" / "small.yaml").write_text(SWEEP, "utf-8")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return project_in(tmp_path)


def environment() -> dict[str, str]:
    found = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    found.pop("MMKD_DATA", None)
    return found


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from mmkd.cli import main; main()", *arguments]


def mmkd(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(command(*arguments), cwd=folder, env=environment(), capture_output=True, text=True)


def begun(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        command(*arguments), cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_folder(project: Path, number: int = 1) -> Path:
    return project / "results" / "sweeps" / "tiny-small" / f"run{number}"


def trials(project: Path, number: int = 1) -> dict[int, Trial]:
    return trials_of(read_journal(run_folder(project, number) / "journal.jsonl"))


def wait_for(project: Path, event: str, times: int = 1, within: float = 240) -> None:
    """Until the journal holds so many of these events."""
    until = time.monotonic() + within
    path = run_folder(project) / "journal.jsonl"
    while time.monotonic() < until:
        if path.exists() and sum(each["event"] == event for each in read_journal(path)) >= times:
            return
        time.sleep(0.05)
    raise AssertionError(f"no {event} within {within} s")


def left_behind(project: Path) -> list[str]:
    """Processes that work on this project, or are of a Ray cluster that was begun for it."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.cwd() == str(project):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def assert_nothing_is_left(project: Path, within: float = 60) -> None:
    """Ray's own helpers see by themselves that what they belong to was killed, which takes them some seconds."""
    until = time.monotonic() + within
    while left_behind(project) and time.monotonic() < until:
        time.sleep(0.5)
    assert left_behind(project) == []


def read(project: Path, text: str) -> Sweep:
    path = project / "sweeps" / "other.yaml"
    path.write_text(text, "utf-8")
    return load_section(path, Sweep)


@pytest.mark.parametrize(
    ("found", "instead", "line", "says"),
    [
        ("trials: 3", "trails: 3", 2, "did you mean `trials`"),
        ("trials: 3", "trials: 0", 2, "trials"),
        ("{log_uniform: [1, 8]}", "{log_uniform: [8, 1]}", 6, "low < high"),
        ("{log_uniform: [1, 8]}", "{log_uniform: [0, 8]}", 6, "above 0"),
        ("{log_uniform: [1, 8]}", "{uniform: [1, 8], choice: [1]}", 6, "expected one of uniform"),
        ("{log_uniform: [1, 8]}", "{}", 6, "expected one of uniform"),
        ("grace_epochs: 1", "grace_epochs: 0", 4, "grace_epochs"),
        ("kind: optuna", "kind: optina", 3, "search"),
        ("trials: 3", "trials: 3\nobjective: {maximize: test.mean_score}", 3, "objective.maximize"),
    ],
)
def test_a_wrong_sweep_file_is_refused_with_its_line(
    project: Path, found: str, instead: str, line: int, says: str
) -> None:
    assert read(project, SWEEP).trials == 3
    with pytest.raises(ConfigError, match=re.escape(says)) as caught:
        read(project, SWEEP.replace(found, instead))
    assert line in {problem.line for problem in caught.value.problems}


def test_every_mistake_of_a_space_is_named_before_anything_runs(project: Path) -> None:
    text = SWEEP.replace("losses.text_ner.temperature", "losses.text_ner.temprature")
    text = text.replace("[fixed, uncertainty]", "[fixed, uncertainity]")
    text += "  train.lr: {uniform: [-1, 1]}\n"
    (project / "sweeps" / "small.yaml").write_text(text, "utf-8")
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 2
    for says in ("did you mean `temperature`", "did you mean `uncertainty`", "train.lr"):
        assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert not (project / "results").exists()


def test_an_objective_of_a_task_that_is_not_there_is_refused(project: Path) -> None:
    text = SWEEP + "objective: {maximize: validation.mood.macro_f1}\n"
    (project / "sweeps" / "small.yaml").write_text(text, "utf-8")
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 2 and "the tasks are sentiment, ner, risk" in done.stderr


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, subprocess.CompletedProcess]]:
    folder = project_in(tmp_path_factory.mktemp("swept") / "project")
    yield folder, mmkd(folder, "sweep", "sweeps/small.yaml")


def test_a_sweep_keeps_a_record_of_each_trial_and_opens_no_test_split(
    swept: tuple[Path, subprocess.CompletedProcess],
) -> None:
    folder, done = swept
    assert done.returncode == 0, done.stdout + done.stderr
    found = trials(folder)
    assert sorted(found) == [0, 1, 2] and all(trial.status is not None for trial in found.values())
    for number, trial in found.items():
        record = read_record(run_folder(folder) / "trials" / f"{number:04}" / "seed0" / "record.json")
        assert trial.seeds[0].record == record.digest
        assert trial.objectives["validation.mean_score"] == record.selection.value
        assert record.test_openings == 0 and set(record.scores) == {"validation"}
        assert record.experiment["losses"]["text_ner"]["temperature"] == trial.values["losses.text_ner.temperature"]
    assert not (run_folder(folder) / "tune").exists()
    assert left_behind(folder) == []


def test_the_winners_file_alone_gives_the_trials_score_to_the_last_digit(
    swept: tuple[Path, subprocess.CompletedProcess],
) -> None:
    folder, done = swept
    finished = [trial for trial in trials(folder).values() if trial.status == FINISHED]
    best = max(trial.objectives["validation.mean_score"] for trial in finished)
    alone = mmkd(folder, "run", str(run_folder(folder) / "winner.yaml"))
    assert alone.returncode == 0, alone.stderr
    (path,) = folder.glob("results/runs/tiny_small-*/seed0/record.json")
    assert read_record(path).selection.value == best
    assert f"{best!r}" in done.stdout
    text = (run_folder(folder) / "winner.yaml").read_text("utf-8")
    assert "Selected on validation alone" in text and "'seeds=[1,2,3,4,5]'" in text


def test_a_finished_sweep_is_shown_again_and_more_trials_go_on_from_it(
    swept: tuple[Path, subprocess.CompletedProcess],
) -> None:
    folder, _ = swept
    before = (run_folder(folder) / "journal.jsonl").read_bytes()
    (folder / "sweeps" / "small.yaml").write_text(SWEEP.replace("trials: 3", "trials: 4"), "utf-8")
    done = mmkd(folder, "sweep", "sweeps/small.yaml")
    assert done.returncode == 0 and "3 trials so far" in done.stdout
    after = (run_folder(folder) / "journal.jsonl").read_bytes()
    assert after.startswith(before) and sorted(trials(folder)) == [0, 1, 2, 3]


def test_a_sweep_that_depends_on_something_else_is_not_gone_on_with(
    swept: tuple[Path, subprocess.CompletedProcess],
) -> None:
    folder, _ = swept
    file = folder / "sweeps" / "small.yaml"
    before = (run_folder(folder) / "journal.jsonl").read_bytes()
    file.write_text(SWEEP.replace("[1, 8]", "[1, 9]"), "utf-8")
    done = mmkd(folder, "sweep", "sweeps/small.yaml")
    assert done.returncode == 2 and "began with another sweep file, so" in done.stderr and "--fresh" in done.stderr
    file.write_text(SWEEP, "utf-8")
    tiny = folder / "tiny.yaml"
    tiny.write_text(tiny.read_text("utf-8").replace("width: 16", "width: 18"), "utf-8")
    done = mmkd(folder, "sweep", "sweeps/small.yaml")
    assert done.returncode == 2 and "began with another experiment, so" in done.stderr
    assert (run_folder(folder) / "journal.jsonl").read_bytes() == before
    assert not run_folder(folder, 2).exists()


def test_a_damaged_journal_is_named_and_nothing_is_run(swept: tuple[Path, subprocess.CompletedProcess]) -> None:
    folder, _ = swept
    path = run_folder(folder) / "journal.jsonl"
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"trial": 1', b'"trial": 7', 1))
    try:
        done = mmkd(folder, "sweep", "sweeps/small.yaml")
        assert done.returncode == 2 and re.search(r"journal\.jsonl:\d+: ", done.stderr)
        assert "Traceback" not in done.stderr
    finally:
        path.write_bytes(data)


@pytest.mark.slow
def test_the_unbroken_sweep_comes_out_of_kills_of_its_driver_and_of_torn_state_of_tune(project: Path) -> None:
    whole = project_in(project / "whole")
    assert mmkd(whole, "sweep", "sweeps/small.yaml").returncode == 0
    for times in (1, 2):
        driver = begun(project, "sweep", "sweeps/small.yaml")
        wait_for(project, "started", times)
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
        for path in (run_folder(project) / "tune").rglob("*"):
            if path.is_file():
                os.truncate(path, path.stat().st_size // 2)
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 0, done.stderr
    one, other = trials(whole), trials(project)
    assert [(t.values, t.status, t.curve, t.objectives) for t in one.values()] == [
        (t.values, t.status, t.curve, t.objectives) for t in other.values()
    ]
    assert_nothing_is_left(project)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_a_sweep_that_is_asked_to_stop_saves_stops_and_goes_on(project: Path, number: signal.Signals) -> None:
    tiny = project / "tiny.yaml"
    tiny.write_text(tiny.read_text("utf-8").replace("epochs: 2", "epochs: 500"), "utf-8")
    driver = begun(project, "sweep", "sweeps/small.yaml")
    wait_for(project, "started")
    time.sleep(6)
    driver.send_signal(number)
    said, _ = driver.communicate()
    assert driver.returncode == 75, said
    assert "the same command goes on" in said
    assert_nothing_is_left(project)
    assert {each.reason for trial in trials(project).values() for each in trial.broke_off} <= {"stopped", "lost"}
    tiny.write_text(tiny.read_text("utf-8").replace("epochs: 500", "epochs: 2"), "utf-8")


@pytest.mark.slow
def test_a_second_driver_is_refused_while_the_first_one_lives(project: Path) -> None:
    driver = begun(project, "sweep", "sweeps/small.yaml")
    wait_for(project, "started")
    second = mmkd(project, "sweep", "sweeps/small.yaml")
    assert second.returncode == 4 and "holds it" in second.stderr
    said, _ = driver.communicate()
    assert driver.returncode == 0, said


@pytest.mark.slow
def test_a_hanging_trial_is_ended_and_made_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUNG", str(project / "hung"))
    (project / "my_lab").mkdir()
    (project / "my_lab" / "hangs.py").write_text(HANGS, "utf-8")
    tiny = project / "tiny.yaml"
    text = tiny.read_text("utf-8").replace("risk: {kind: supervised", "risk: {kind: my_lab.hangs")
    tiny.write_text(text, "utf-8")
    sweep = SWEEP.replace("trials: 3", "trials: 1\nhang_minutes: 0.25")
    (project / "sweeps" / "small.yaml").write_text(sweep, "utf-8")
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    (trial,) = trials(project).values()
    assert trial.status == FINISHED and [each.reason for each in trial.broke_off] == ["hanging"]
    assert "hanging: no step for 0.25 minutes" in done.stdout


@pytest.mark.slow
def test_a_failing_trial_is_listed_with_its_reason_and_the_others_go_on(project: Path) -> None:
    text = SWEEP.replace("kind: optuna, ahead: 2", "kind: grid")
    text = text.replace("{log_uniform: [1, 8]}", "{choice: [2]}").replace(
        "stop_early", "retry: {failed: 1}\nstop_early"
    )
    text += "  train.lr: {choice: [1.0e-3, 1.0e+30]}\n"
    (project / "sweeps" / "small.yaml").write_text(text, "utf-8")
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    found = trials(project)
    failed = [trial for trial in found.values() if trial.status == FAILED]
    assert failed and all(trial.values["train.lr"] == 1e30 for trial in failed)
    assert all([each.reason for each in trial.broke_off] == ["failed", "failed"] for trial in failed)
    assert all(trial.says and trial.says in done.stdout for trial in failed)


def test_left_behind_sees_a_process(tmp_path: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=tmp_path)
    try:
        assert len(left_behind(tmp_path)) == 1
    finally:
        sleeper.kill()
        sleeper.wait()
        shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.slow
def test_a_population_is_the_same_after_kills_and_its_winner_is_an_ordinary_experiment(project: Path) -> None:
    """On Ray: its driver is killed while a generation is under way; then the winner's file is run from scratch."""
    text = SWEEP.replace("{kind: optuna, ahead: 2}", "{kind: pbt, population: 3, every: 1, keep: 0.34, resample: 0.5}")
    text = "".join(
        line for line in text.splitlines(True) if not line.startswith(("trials", "stop_early", "  weighting.kind"))
    )
    text += "  train.lr: {log_uniform: [1.0e-4, 1.0e-2]}\n"
    whole = project_in(project / "whole")
    for folder in (project, whole):
        tiny = folder / "tiny.yaml"
        tiny.write_text(tiny.read_text("utf-8").replace("epochs: 2", "epochs: 3"), "utf-8")
        (folder / "sweeps" / "small.yaml").write_text(text, "utf-8")
    assert (done := mmkd(whole, "sweep", "sweeps/small.yaml")).returncode == 0, done.stdout + done.stderr
    for times in (2, 5):
        driver = begun(project, "sweep", "sweeps/small.yaml")
        wait_for(project, "started", times)
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        assert driver.stdout is not None
        driver.stdout.close()
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = trials(whole), trials(project)
    assert sorted(one) == list(range(9)) and [trial.status for trial in one.values()] == [WENT_ON] * 6 + [FINISHED] * 3
    assert [(t.overrides, t.status, t.curve, t.objectives) for t in one.values()] == [
        (t.overrides, t.status, t.curve, t.objectives) for t in other.values()
    ]
    assert any("changes." in line for trial in one.values() for line in trial.overrides)
    assert not list(run_folder(project).glob("trials/*/seed0/checkpoints"))
    best = max((t for t in other.values() if t.status == FINISHED), key=lambda t: t.objectives["validation.mean_score"])
    kept = read_record(run_folder(project) / "trials" / f"{best.number:04}" / "seed0" / "record.json")
    alone = mmkd(project, "run", str(run_folder(project) / "winner.yaml"))
    assert alone.returncode == 0, alone.stderr
    (path,) = project.glob("results/runs/tiny_small-*/seed0/record.json")
    record = read_record(path)
    assert record.selection.value == best.objectives["validation.mean_score"]
    assert record.weights == kept.weights
    time.sleep(2)
    assert left_behind(project) == []
