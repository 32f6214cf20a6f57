"""Sweeps: the file, the space, the choice of the winner; and, slow, a whole sweep whose winner comes back exactly."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmkd.config.load import load
from mmkd.config.problems import ConfigError
from mmkd.config.section_file import load_section
from mmkd.config.sweep_file import Sweep
from test_cli import EXPERIMENT, ROOT

SWEEP = """\
experiment: ../tiny.yaml
trials: 3
stop_early: {kind: asha, grace_epochs: 1}
space:
  losses.text_ner.temperature: {log_uniform: [1, 8]}
  weighting.kind: {choice: [fixed, uncertainty]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "data_cards").mkdir()
    (tmp_path / "data_cards" / "market_notes.md").write_bytes((ROOT / "data_cards" / "market_notes.md").read_bytes())
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT.replace("epochs: 1, threads", "epochs: 2, threads"), "utf-8")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "small.yaml").write_text(SWEEP, "utf-8")
    return tmp_path


def mmkd(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    environment.pop("MMKD_DATA", None)
    code = "from mmkd.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def read(project: Path, text: str) -> Sweep:
    path = project / "sweeps" / "other.yaml"
    path.write_text(text, "utf-8")
    return load_section(path, Sweep)


@pytest.mark.parametrize(
    ("found", "instead", "line", "says"),
    [
        ("trials: 3", "trails: 3", 2, "did you mean `trials`"),
        ("trials: 3", "trials: 0", 2, "trials"),
        ("{log_uniform: [1, 8]}", "{log_uniform: [8, 1]}", 5, "low < high"),
        ("{log_uniform: [1, 8]}", "{log_uniform: [0, 8]}", 5, "above 0"),
        ("{log_uniform: [1, 8]}", "{uniform: [1, 8], choice: [1]}", 5, "expected one of uniform"),
        ("{log_uniform: [1, 8]}", "{}", 5, "expected one of uniform"),
        ("grace_epochs: 1", "grace_epochs: 0", 3, "grace_epochs"),
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


def test_examples_of_a_domain_are_its_bounds_or_choices(project: Path) -> None:
    space = read(project, SWEEP).space
    assert space["losses.text_ner.temperature"].examples() == (1.0, 8.0)
    assert space["weighting.kind"].examples() == ("fixed", "uncertainty")


def test_overrides_carry_every_digit(project: Path) -> None:
    from mmkd.sweep import override

    value = 2.413228286472407e-07
    experiment = load(project / "tiny.yaml", [override("losses.text_ner.temperature", value)])
    assert experiment.losses["text_ner"].temperature == value


@pytest.mark.slow
def test_a_key_that_the_experiment_does_not_take_is_refused_before_any_trial(project: Path) -> None:
    text = SWEEP.replace("losses.text_ner.temperature", "losses.text_ner.temprature")
    (project / "sweeps" / "small.yaml").write_text(text, "utf-8")
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 2
    assert "did you mean `temperature`" in done.stderr
    assert not (project / "results" / "sweeps").exists()


@pytest.mark.slow
def test_the_winner_alone_gives_the_same_validation_score_to_the_last_digit(project: Path) -> None:
    done = mmkd(project, "sweep", "sweeps/small.yaml")
    assert done.returncode == 0, done.stdout + done.stderr
    folder = project / "results" / "sweeps" / "tiny-small" / "run1"
    trials = [json.loads(line) for line in (folder / "trials.jsonl").read_text("utf-8").splitlines()]
    assert len(trials) == 3
    assert all(trial["status"] in {"finished", "stopped early"} for trial in trials)
    best = max(trial["objective"] for trial in trials if trial["status"] == "finished")
    records = [json.loads(path.read_text("utf-8")) for path in folder.glob("trials/*/record.json")]
    assert all(record["test_openings"] == 0 and set(record["scores"]) == {"validation"} for record in records)

    command = next(line for line in done.stdout.splitlines() if line.startswith("mmkd run "))
    alone = subprocess.run(
        ["bash", "-c", command.replace("mmkd", f"{sys.executable} -c 'from mmkd.cli import main; main()'", 1)],
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert alone.returncode == 0, alone.stderr
    record = json.loads(next(project.glob("results/runs/tiny-*/seed0/record.json")).read_text("utf-8"))
    assert record["selection"]["value"] == best
    assert mmkd(project, "check", str(folder / "winner.yaml")).returncode == 0
