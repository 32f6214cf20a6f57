"""The preflight of a run: what it leaves as it was, the rows that it draws, and the size of a first loss."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.progress import Progress
from torch.nn import functional

from mmkd import checkpoint
from mmkd.data.corpus import Corpus
from mmkd.losses import crd
from mmkd.preflight.check import CHANCE, check_size, preflight
from mmkd.preflight.found import Finding, Report
from mmkd.preflight.rows import FEWEST, OF_A_SORT, drawn_rows
from mmkd.preflight.show import shown
from mmkd.ready import Ready, make_ready
from mmkd.seed import run_seed
from mmkd.train import Players
from mmkd.types import Outputs
from tiny_project import TASKS, Row, everything, experiment, listed_corpus, make_project, plain_experiment, same_weights

KINDS = (crd,)  # imported before an experiment is read, as those of `tiny_project` are


def with_memory(preflight: bool = True) -> dict[str, Any]:
    """The tiny experiment, with a term that keeps what it sees."""
    plain = plain_experiment()
    plain["losses"]["memory"] = {"kind": "crd", "teacher": "bert", "modality": "text", "memory": 16, "width": 4}
    plain["train"] |= {"epochs": 1, "preflight": preflight}
    plain["seeds"] = [0]
    return plain


@pytest.fixture(scope="module")
def near(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("check") / "project")


def ready_of(near: Path, **changes: Any) -> Ready:
    return make_ready(experiment(with_memory(**changes)), near, Progress(disable=True))


def players_of(ready: Ready) -> Players:
    student = ready.student(0)
    terms = ready.workspace.terms(student, ready.teachers)
    return Players(student, ready.teachers, terms, ready.workspace.weighting(), ready.workspace.tasks)


def state_of(players: Players) -> dict[str, torch.Tensor]:
    trainees = torch.nn.ModuleList([players.network, players.terms, players.weighting])
    return {name: value.clone() for name, value in trainees.state_dict().items()}


def test_a_run_has_the_same_bits_with_and_without(near: Path, tmp_path: Path) -> None:
    records = []
    for checked in (True, False):
        folder = tmp_path / str(checked)
        records.append(run_seed(ready_of(near, preflight=checked), 0, folder, "the command"))
    one, other = (checkpoint.load(tmp_path / name / "student")[0] for name in ("True", "False"))
    assert same_weights(one, other)
    assert records[0].history == records[1].history
    assert records[0].start == records[1].start


def test_what_trains_and_every_random_state_stay_as_they_were(near: Path, tmp_path: Path) -> None:
    ready = ready_of(near)
    players = players_of(ready)
    modes = [module.training for module in players.network.modules()]
    before, states = state_of(players), (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    report = preflight(ready.workspace, players, ready.training(tmp_path, 0), 0).require()
    assert same_weights(state_of(players), before)
    assert [module.training for module in players.network.modules()] == modes
    assert all(p.grad is None for p in players.network.parameters())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()
    assert random.getstate() == states[2]
    assert report.rows >= FEWEST


def test_the_table_names_every_check_and_whom_it_could_not_look_at(near: Path, tmp_path: Path) -> None:
    ready = ready_of(near)
    report = preflight(ready.workspace, players_of(ready), ready.training(tmp_path, 0), 0)
    report.leave_out("a check", "losses.x (kind y)", "no row")
    table = shown(report)
    assert list(table.columns[0].cells) == [*report.looked, "a check"]
    assert list(table.columns[2].cells)[-1] == "not looked at: losses.x (kind y): no row"
    assert set(list(table.columns[2].cells)[:-1]) == {"as it should be"}


def test_the_rows_have_labels_of_each_task_and_lack_what_can_be_absent(tmp_path: Path) -> None:
    """One row in 3,000 has a label of `risk`: it is found, and so are rows of all sorts, from any seed."""
    rows = [Row("shares fall", 40, {"mood": 1}) for _ in range(3000)]
    rows[2222] = Row("shares rise", 40, {"risk": 2})
    rows[100:110] = [Row("", 40, {}) for _ in range(10)]
    rows[200:210] = [Row("Acme climbs", None, {"ner": (1, 0)}) for _ in range(10)]
    corpus = listed_corpus(rows, tmp_path)
    for seed in (0, 1):
        drawn = drawn_rows(corpus, seed)
        batch = corpus.batch(drawn.batch)
        assert {task: int(has.sum()) for task, has in batch.has_label.items()}["risk"] == 1
        for some in (batch.has_label["mood"], batch.has_label["ner"], ~batch.has_text, ~batch.has_image):
            assert int(some.sum()) >= OF_A_SORT
        assert len(set(drawn.batch.tolist())) == len(drawn.batch) < 30
        assert int(corpus.batch(drawn.labelled).has_label["mood"].sum()) >= 96
    assert drawn_rows(corpus, 0).batch.tolist() == drawn_rows(corpus, 0).batch.tolist()
    assert drawn_rows(corpus, 0).batch.tolist() != drawn_rows(corpus, 1).batch.tolist()


@pytest.mark.parametrize(("scale", "mistakes"), [(0.0, 0), (1.0, 0), (100.0, 1)])
def test_a_first_loss_far_above_chance_is_found(scale: float, mistakes: int, tmp_path: Path) -> None:
    corpus = listed_corpus([Row("shares fall", 40, {"mood": n % 3}) for n in range(9)], tmp_path)
    logits = scale * torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
    assert len(sized(corpus, logits)) == mistakes


def sized(corpus: Corpus, logits: torch.Tensor) -> list[Finding]:
    """What is found of a student with these logits for `mood`."""
    batch, report = everything(corpus), Report()
    check_size(TASKS["mood"], Outputs({"mood": logits}, batch.has_text, batch.word_mask), batch, report)
    return report.findings[CHANCE]


def test_a_first_loss_far_below_chance_is_found(tmp_path: Path) -> None:
    """A new head that knows the labels has seen them."""
    corpus = listed_corpus([Row("shares fall", 40, {"mood": n % 3}) for n in range(9)], tmp_path)
    (found,) = sized(corpus, 9.0 * functional.one_hot(everything(corpus).labels["mood"], 3))
    assert str(found).startswith("tasks.mood (kind classify): before the first step the student's loss is ")
