"""The command line, as a user calls it: in a process of its own, in a project of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

EXPERIMENT = """\
name: tiny
data:
  notes: {card: market_notes, train: [train, transfer], limit: {train: 24, transfer: 16, validation: 24, test: 24}}
tasks:
  sentiment: {kind: classify}
  ner: {kind: tag}
  risk: {kind: ordinal}
teachers:
  text:
    kind: hf_text
    architecture: {model_type: bert, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 8}
    vocabulary: 300
    tasks: [sentiment, ner, risk]
    layers: [0]
    finetune: {epochs: 1}
  image: {kind: timm, model: lcnet_035, size: 48, tasks: [sentiment, risk], finetune: {epochs: 1}}
student:
  text:
    architecture: {model_type: bert, hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 1, intermediate_size: 8}
    vocabulary: 200
  image: {model: lcnet_035, size: 48}
  width: 16
losses:
  sentiment: {kind: supervised, task: sentiment}
  ner: {kind: supervised, task: ner}
  risk: {kind: supervised, task: risk}
  text_ner: {kind: logit_kl, teacher: text, task: ner, temperature: 2}
weighting: {kind: fixed}
train: {epochs: 1, threads: 1}
seeds: [0]
"""

PLANTED = """\
name: tiny
data:
  notes: {card: market_note}
tasks:
  sentiment: {kind: clasify}
  ner: {kind: tag}
  risk: {kind: ordinal}
teachers:
  text:
    kind: hf_text
    model: ./no/such/model
    tasks: [sentiment, risk]
    layers: [3]
student:
  text: {architecture: {model_type: bert}, vocabulary: 200}
  width: wide
losses:
  sentiment: {kind: supervised, task: sentiment}
  risk: {kind: supervised, task: risk}
  text_ner: {kind: logit_kl, teacher: text, task: ner, temperature: 2}
  text_risk: {kind: logit_kl, teacher: text, task: risk, temprature: 2}
  hidden: {kind: hint, teacher: text, layer: 5, modality: text}
  other: {kind: supervised, task: senttiment}
  risk: {kind: supervised, task: risk}
weighting: {kind: fixed}
train: {epochs: 0}
seeds: [0]
"""

TABLE = """\
title: scores
split: test
rows:
  student: {experiment: tiny}
columns:
  risk: {score: risk.accuracy}
"""

HINGE = '''\
"""A multi-class hinge against the teacher's choice."""

from typing import Literal

import torch

from mmkd.config.plugin_base import TaskLossConfig, TeacherNeeds
from mmkd.losses import base
from mmkd.types import rows_of


class Config(TaskLossConfig):
    kind: Literal["my_lab.hinge"] = "my_lab.hinge"
    teacher: str
    margin: float = 1.0

    def teacher_needs(self):
        return (TeacherNeeds(self.teacher, tasks=(self.task,)),)


class Loss(base.Loss):
    def forward(self, student, teachers, batch):
        said = teachers[self.config.teacher]
        rows = rows_of(self.setting.tasks[self.config.task].level, batch, student, said)
        logits, chosen = student.logits[self.config.task][rows], said.logits[self.config.task][rows].argmax(-1)
        gaps = self.config.margin + logits - logits.gather(-1, chosen[:, None])
        return torch.relu(gaps).sum() / max(1, len(gaps))
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder of one's own with an experiment and the card that it names."""
    (tmp_path / "data_cards").mkdir()
    (tmp_path / "data_cards" / "market_notes.md").write_bytes((ROOT / "data_cards" / "market_notes.md").read_bytes())
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT, "utf-8")
    return tmp_path


def mmkd(folder: Path, *arguments: str, code: str = "from mmkd.cli import main; main()") -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    environment.pop("MMKD_DATA", None)
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_check_accepts_a_right_file(project: Path) -> None:
    done = mmkd(project, "check", "tiny.yaml", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    assert "no mistakes" in done.stdout


def test_a_deep_check_shows_what_was_looked_at(project: Path) -> None:
    done = mmkd(project, "check", "--deep", "tiny.yaml")
    assert done.returncode == 0, done.stderr
    assert "training rows" in done.stdout
    assert "masked places, labels and padding change no term" in done.stdout
    assert "mistakes" not in done.stdout.partition("preflight")[2]


@pytest.mark.parametrize("command", [("check", "--deep"), ("run",)], ids=["check", "run"])
def test_a_loss_of_one_s_own_that_counts_padding_is_stopped(project: Path, command: tuple[str, ...]) -> None:
    (project / "my_lab").mkdir()
    (project / "my_lab" / "hinge.py").write_text(HINGE.replace("max(1, len(gaps))", "rows.numel()"), "utf-8")
    added = "  hinge: {kind: my_lab.hinge, teacher: text, task: ner}\nweighting:"
    (project / "tiny.yaml").write_text(EXPERIMENT.replace("weighting:", added), "utf-8")
    done = mmkd(project, *command, "tiny.yaml")
    assert done.returncode == 1, done.stderr
    assert (
        "losses.hinge (kind my_lab.hinge): depends on how far the batch is padded: the value goes from" in done.stderr
    )
    assert "Traceback" not in done.stderr
    assert not list(project.rglob("record.json"))


def test_check_names_every_planted_mistake_with_its_line(project: Path) -> None:
    (project / "wrong.yaml").write_text(PLANTED, "utf-8")
    done = mmkd(project, "check", "wrong.yaml")
    assert done.returncode == 2
    expected = {
        ("wrong.yaml:3", "data.notes.card", "market_note"),
        ("wrong.yaml:5", "tasks.sentiment.kind", "classify"),
        ("wrong.yaml:11", "teachers.text.model", "./no/such/model"),
        ("wrong.yaml:16", "student.width", "wide"),
        ("wrong.yaml:20", "losses.text_ner.task", "no head"),
        ("wrong.yaml:21", "losses.text_risk.temprature", "temperature"),
        ("wrong.yaml:22", "losses.hidden.layer", "5"),
        ("wrong.yaml:23", "losses.other.task", "sentiment"),
        ("wrong.yaml:24", "losses", "risk"),
        ("wrong.yaml:26", "train.epochs", "0"),
    }
    lines = done.stderr.splitlines()
    for place, key, word in expected:
        assert any(line.startswith(f"{place}: {key}") and word in line for line in lines), (place, key, done.stderr)


def test_check_does_not_import_torch(project: Path) -> None:
    code = (
        "import sys, atexit; atexit.register(lambda: print('torch' in sys.modules)); from mmkd.cli import main; main()"
    )
    assert mmkd(project, "check", "tiny.yaml", code=code).stdout.splitlines()[-1] == "False"


def test_missing_data_root_is_said_with_what_to_do(project: Path) -> None:
    card = ROOT / "data_cards" / "wnut17.md"
    (project / "data_cards" / "wnut17.md").write_bytes(card.read_bytes())
    done = mmkd(project, "check", "tiny.yaml", "data.notes.card=wnut17", "data.notes.train=[train]")
    assert done.returncode == 2
    assert "MMKD_DATA is not set" in done.stderr
    assert "wnut17/" in done.stderr


def test_run_with_a_loss_from_outside_the_package_then_tables(project: Path) -> None:
    (project / "my_lab").mkdir()
    (project / "my_lab" / "__init__.py").write_text("", "utf-8")
    (project / "my_lab" / "hinge.py").write_text(HINGE, "utf-8")
    own = "losses.own={kind: my_lab.hinge, teacher: image, task: risk}"
    done = mmkd(project, "run", "tiny.yaml", own)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "teacher text" in done.stdout
    assert len(list(project.glob("results/runs/tiny-*/seed0/record.json"))) == 1

    tables = project / "results" / "tables"
    tables.mkdir()
    (tables / "scores.yaml").write_text(TABLE, "utf-8")
    assert mmkd(project, "tables", "--runs", "--show", "scores").returncode == 0
    assert (project / "results" / "runs" / "tables" / "scores.md").exists()

    assert mmkd(project, "keep", "tiny").returncode == 2, "code outside a repository is kept only when asked"
    assert mmkd(project, "keep", "tiny", "--allow-dirty").returncode == 0
    assert mmkd(project, "tables").returncode == 0
    written = (tables / "scores.md").read_bytes()
    (tables / "scores.md").unlink()
    assert mmkd(project, "tables").returncode == 0
    assert (tables / "scores.md").read_bytes() == written
    cell = next(line for line in written.splitlines() if line.startswith(b"| student"))
    digit = next(character for character in cell.decode() if character.isdigit())
    edited = cell.replace(digit.encode(), str((int(digit) + 1) % 10).encode(), 1)
    (tables / "scores.md").write_bytes(written.replace(cell, edited))
    broken = mmkd(project, "tables", "--check")
    assert broken.returncode == 1
    named = [line for line in broken.stderr.splitlines() if "scores.md" in line]
    assert any("student" in line and "risk" in line for line in named), broken.stderr


def test_what_a_table_lacks_is_run_and_kept(project: Path) -> None:
    tables = project / "results" / "tables"
    tables.mkdir(parents=True)
    (project / "results" / "records").mkdir()
    (project / "experiments").mkdir()
    (project / "experiments" / "tiny.yaml").write_text(EXPERIMENT, "utf-8")
    row = "{experiment: tiny, where: {losses.text_ner.temperature: 3}}"
    (tables / "scores.yaml").write_text(TABLE.replace("{experiment: tiny}", row), "utf-8")
    command = "mmkd run experiments/tiny.yaml losses.text_ner.temperature=3"
    dry = mmkd(project, "tables", "--fill", "--dry-run")
    assert (dry.returncode, dry.stdout) == (0, f"{command}    # table scores, row student\n")
    assert not (project / "results" / "runs").exists()
    assert mmkd(project, "tables", "--fill").returncode == 0
    assert mmkd(project, "keep", "tiny", "--variants", "--allow-dirty").returncode == 0
    assert mmkd(project, "tables").returncode == 0
    assert mmkd(project, "tables", "--fill").stderr == "nothing is lacking\n"
    text = (project / "experiments" / "tiny.yaml").read_text("utf-8")
    (project / "experiments" / "tiny.yaml").write_text(text.replace("width: 16", "width: 17"), "utf-8")
    stale = mmkd(project, "tables", "--check")
    assert stale.returncode == 1
    assert "student-seed0.json: experiments/tiny.yaml, with its overrides, says something else" in stale.stderr
    assert "`student.width` (16 and 17)" in stale.stderr and "table scores, row student" in stale.stderr


def test_a_command_that_fails_gives_its_exit_code(project: Path) -> None:
    tables = project / "results" / "tables"
    tables.mkdir(parents=True)
    (project / "results" / "records").mkdir()
    (tables / "scores.yaml").write_text(TABLE, "utf-8")
    done = mmkd(project, "tables", "--fill")
    assert done.returncode == 2 and "experiments/tiny.yaml" in done.stderr
    assert mmkd(project, "tables", "--dry-run").returncode == 2
    assert mmkd(project, "tables", "--check", "--fill").returncode == 2


def test_unknown_kind_inside_a_broken_plugin_surfaces_as_itself(project: Path) -> None:
    (project / "my").mkdir()
    text = "import no_such_package\n" + HINGE.replace("margin: float", "margin: no_such_package.X")
    (project / "my" / "broken.py").write_text(text, "utf-8")
    done = mmkd(project, "check", "tiny.yaml", "losses.own={kind: my.broken, teacher: image, task: risk}")
    assert done.returncode == 1
    assert "No module named 'no_such_package'" in done.stderr


def test_schema_is_printed(project: Path) -> None:
    done = mmkd(project, "schema")
    assert done.returncode == 0
    assert '"logit_kl"' in done.stdout


def test_plan_prints_json_alone_and_writes_no_results(project: Path) -> None:
    done = mmkd(project, "plan", "tiny.yaml", "--json", "--no-measure")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["student"]["rows"], found["student"]["steps"], found["student"]["epoch_seconds"]) == (40, 2, None)
    assert [teacher["finetune"]["steps"] for teacher in found["teachers"]] == [1, 1]
    assert {path.name for path in (project / "results").iterdir()} == {"cache"}
