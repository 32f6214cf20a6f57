"""Which passes are made over a batch, and that only the first one leaves something behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from mmkd.config.looks import Look
from mmkd.losses import masked_feature, supervised
from mmkd.losses.base import Setting
from mmkd.objective import Objective, Terms
from mmkd.passes import Passes, aside
from mmkd.train import Players
from test_train import corpus_of, gradients_at_steps, players_of
from tiny_project import TASKS, everything, same_weights


def with_terms(players: Players, **losses: dict[str, Any]) -> Players:
    """The players with `masked_feature` terms of these keys, beside the labels."""
    setting = Setting(TASKS, players.network.shape, {name: each.shape for name, each in players.teachers.items()})
    torch.manual_seed(1)
    found: dict[str, Any] = {n: supervised.Loss(supervised.Config(task=n), setting) for n in TASKS}
    for name, keys in losses.items():
        config = masked_feature.Config(teacher="bert", modality="text", **keys)
        found[name] = masked_feature.Loss(config, setting)
    return Players(players.network, players.teachers, Terms(found), players.weighting, TASKS)


def passes_of(players: Players) -> Passes:
    return Passes(players.network, players.terms, Accelerator(cpu=True))


class Seen:
    """The texts' kept sub-tokens that a network is given, pass by pass."""

    def __init__(self, network: nn.Module) -> None:
        self.tokens: list[int] = []
        network.register_forward_pre_hook(
            lambda _, given: self.tokens.append(int(given[0].tokens["student"].mask.sum()))
        )


def test_without_a_wish_there_is_one_pass_with_nothing_added(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    players = players_of(corpus)
    seen, student = Seen(players.network), passes_of(players).student(everything(corpus))
    assert len(seen.tokens) == 1
    assert not student.looks
    assert student.mixed is None


def test_each_look_is_made_once_whoever_asks_for_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    half, most = {"masked": 0.5}, {"masked": 0.75}
    players = with_terms(players_of(corpus, taught=True), one=half, other=half, third=most)
    batch, seen = everything(corpus), Seen(players.network)
    student = passes_of(players).student(batch)
    assert players.terms.looks == (Look(text=0.5), Look(text=0.75))
    assert set(student.looks) == set(players.terms.looks)
    assert seen.tokens[0] > seen.tokens[1] > seen.tokens[2]
    assert len(seen.tokens) == 3
    assert (student.looks[Look(text=0.75)].words & ~student.words).sum() == 0


def test_looks_leave_the_pass_over_the_whole_batch_as_it_was(tmp_path: Path) -> None:
    """Statistics of batch norms too, which evaluation uses: nothing is hidden there."""
    corpus, found = corpus_of(tmp_path), []
    for losses in ({}, {"one": {"masked": 0.5}}):
        players = with_terms(players_of(corpus, taught=True), **losses)
        players.network.project["text"] = nn.Sequential(players.network.project["text"], nn.BatchNorm1d(8))
        torch.manual_seed(5)
        student = passes_of(players).student(everything(corpus))
        norm = players.network.project["text"][1]
        found.append({"fused": student.fused, "mean": norm.running_mean, "count": norm.num_batches_tracked})
    for name, value in found[0].items():
        assert torch.equal(found[1][name], value)


def test_aside_a_module_keeps_its_buffers_and_learns_all_the_same() -> None:
    norm = nn.BatchNorm1d(3)
    before = {name: value.clone() for name, value in norm.state_dict().items()}
    values = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    out = aside(norm, values)
    (out * torch.arange(6.0)[:, None]).sum().backward()
    assert same_weights(norm.state_dict(), before)
    assert norm.weight.grad.any()
    torch.testing.assert_close(norm(values), out)
    assert not torch.equal(norm.running_mean, before["running_mean"])


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
def test_a_masked_feature_trains_the_encoder_in_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = corpus_of(tmp_path)
    steps = []
    for losses in ({}, {"masked": {"masked": 0.5, "weight": 100.0}}, {"masked": {"masked": 0.5, "weight": 100.0}}):
        players = with_terms(players_of(corpus, taught=True), **losses)
        steps.append(gradients_at_steps(monkeypatch, players, corpus, tmp_path, batch_size=20)[0])
    name = "network.project.text.weight"
    assert steps[1][name].norm() > 3 * steps[0][name].norm()
    assert same_weights(steps[1], steps[2])


def test_objectives_are_added_term_by_term() -> None:
    one, two, three = (torch.tensor(float(n)) for n in (1, 2, 3))
    first = Objective({"a": 1.0}, {"mood": one}, two, {"a": one, "free": two}, {"a": "mood"})
    second = Objective({"a": 9.0, "b": 3.0}, {"mood": two, "risk": three}, three, {"a": two, "b": three}, {"b": "risk"})
    found = first.plus(second)
    assert found.values == {"a": 1.0}
    assert found.by_task == {"mood": torch.tensor(3.0), "risk": three}
    assert found.rest == torch.tensor(5.0)
    assert found.terms == {"a": torch.tensor(3.0), "b": three, "free": two}
    assert found.groups == {"a": "mood", "b": "risk"}
    assert found.total() == torch.tensor(11.0)
    assert Objective({}, {}, None).total() is None
    assert Objective({}, {}, None).plus(Objective({}, {}, None)).rest is None
    assert Objective({}, {}, None).plus(first).rest == two
