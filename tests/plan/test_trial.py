"""Trials against counts by hand: which batches are timed and counted, and that nothing but the players changes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

import mmkd.plan.trial as trial
from mmkd.config.experiment import Train
from mmkd.data.corpus import Corpus
from mmkd.losses import supervised
from mmkd.losses.base import Setting
from mmkd.objective import Terms
from mmkd.plan.passes import flops_of, try_passes
from mmkd.plan.student import memory_of
from mmkd.plan.trial import Trial, try_training
from mmkd.train import Players
from mmkd.types import Batch, Outputs, OutputShape
from mmkd.weighting import fixed
from tiny_project import TASKS, listed_corpus, random_rows

MOOD = {"mood": TASKS["mood"]}
CPU = torch.device("cpu")
WIDTH, CLASSES = 2, 3


class Linear(nn.Module):
    """Says the mood from whether there is a text and an image; keeps how it was called."""

    shape = OutputShape({}, {}, {})

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(WIDTH, CLASSES)
        self.calls: list[tuple[bool, int]] = []

    def forward(self, batch: Batch) -> Outputs:
        self.calls.append((self.training, len(batch.ids)))
        seen: Tensor = torch.stack([batch.has_text, batch.has_image], 1).float()
        return Outputs({"mood": self.head(seen)}, torch.ones_like(batch.has_text), batch.word_mask)


class Asked(nn.Module):
    """A teacher of one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(WIDTH, WIDTH).requires_grad_(False)

    def forward(self, batch: Batch) -> Outputs:
        seen = torch.stack([batch.has_text, batch.has_image], 1).float()
        return Outputs({"mood": self.layer(seen)}, batch.has_text, batch.word_mask)


def players(teachers: Mapping[str, nn.Module] = {}) -> Players:
    network = Linear()
    losses = {"mood": supervised.Loss(supervised.Config(task="mood"), Setting(MOOD, network.shape, {}))}
    return Players(network, teachers, Terms(losses), fixed.Weighting(fixed.Config(), ["mood"]), MOOD)


def tried(found: Players, corpus: Corpus, timed: bool = True) -> tuple[Trial, list[tuple[int, int]]]:
    seen: list[tuple[int, int]] = []
    settings = Train(epochs=1, batch_size=4, patience=1)
    accelerator = Accelerator(cpu=True)
    result = try_training(
        found,
        lambda epoch: corpus,
        corpus,
        settings,
        0,
        accelerator,
        timed,
        lambda done, total: seen.append((done, total)),
    )
    return result, seen


@pytest.mark.parametrize("rows", [40, 10])
def test_operations_and_batches_are_those_counted_by_hand(tmp_path: Path, rows: int) -> None:
    corpus = listed_corpus(random_rows(rows), tmp_path)
    found = players({"asked": Asked()})
    result, seen = tried(found, corpus)
    each = 2 * WIDTH * CLASSES
    flops = {name: value for name, value in result.flops.items() if value}
    assert flops == {"student": each, "backward": each, "teachers": 2 * WIDTH * WIDTH}  # inputs need no gradient
    assert result.batches == trial.TIMED == 10
    assert result.seconds.keys() == {
        *("loading", "student", "teachers", "losses", "backward", "bookkeeping", "optimizer")
    }
    assert all(value > 0 for value in result.seconds.values())
    training = [size for training, size in found.network.calls if training]
    # 10 rows are three batches an epoch, so that several epochs are needed, of more than the settings have
    assert len(training) == trial.WARM_UP + trial.TIMED + trial.COUNTED
    assert seen[-1] == (16, 16)


def test_without_timing_only_operations_are_counted(tmp_path: Path) -> None:
    corpus = listed_corpus(random_rows(40), tmp_path)
    found = players()
    result, _ = tried(found, corpus, timed=False)
    assert (result.seconds, result.batches) == ({}, 0)
    assert result.flops["student"] == 2 * WIDTH * CLASSES
    assert len(found.network.calls) == trial.COUNTED


def test_a_row_counts_once_however_often_it_is_read(tmp_path: Path) -> None:
    class Twice(Linear):
        looks = False

        def forward(self, batch: Batch) -> Outputs:
            self.looks = not self.looks
            if self.looks:
                self(batch)
            return super().forward(batch)

    own = players()
    network = Twice()
    found = Players(network, {}, own.terms, own.weighting, MOOD)
    result, _ = tried(found, listed_corpus(random_rows(40), tmp_path))
    assert result.flops["student"] == 2 * (2 * WIDTH * CLASSES)
    assert result.seconds.keys() >= {"student", "losses"}


def test_what_goes_wrong_in_the_loop_is_not_hidden(tmp_path: Path) -> None:
    corpus = listed_corpus(random_rows(40), tmp_path)
    broken = players({"broken": nn.Identity()})
    broken.teachers["broken"].forward = lambda batch: 1 / 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        tried(broken, corpus)
    assert tried(players(), corpus)[0].flops["student"] == 2 * WIDTH * CLASSES  # nothing keeps counting


def test_passes_read_batches_of_all_lengths_and_count_a_row(tmp_path: Path) -> None:
    corpus = listed_corpus(random_rows(500), tmp_path)
    network = Linear().train()
    kept: list[Outputs] = []
    found = try_passes(network, corpus, CPU, True, lambda done, total: None, kept.append)
    assert found.flops == 2 * WIDTH * CLASSES
    assert found.seconds is not None and found.seconds > 0
    assert len(kept) == 6  # of 8 batches
    assert not any(training for training, _ in network.calls)
    assert not found.outputs.logits["mood"].requires_grad
    assert try_passes(network, corpus, CPU, False, lambda done, total: None).seconds is None
    assert len(network.calls) == 1 + 6 + 1


def test_operations_of_a_row_are_counted_in_one_pass_that_changes_nothing(tmp_path: Path) -> None:
    corpus = listed_corpus(random_rows(500), tmp_path)
    network = Linear().train()
    before, random = network.head.weight.clone(), torch.get_rng_state()
    assert flops_of(network, corpus, CPU) == flops_of(network, corpus, CPU) == 2 * WIDTH * CLASSES
    assert network.calls == [(False, 64)] * 2
    assert torch.equal(network.head.weight, before) and torch.equal(torch.get_rng_state(), random)


def test_operations_inside_compiled_code_are_counted_too(tmp_path: Path) -> None:
    network = Linear()
    network.head.compile(backend="eager")
    assert flops_of(network, listed_corpus(random_rows(8), tmp_path), CPU) == 2 * WIDTH * CLASSES


def test_memory_is_that_of_a_real_optimizer() -> None:
    found = players()
    optimizer = torch.optim.AdamW(found.network.parameters())
    found.network.head(torch.randn(4, WIDTH)).sum().backward()
    optimizer.step()
    state = sum(value.numel() * value.element_size() for each in optimizer.state.values() for value in each.values())
    sizes = [4 * parameter.numel() for parameter in found.network.parameters()]
    memory = memory_of(found, Trial(sizes, {}, {}, 0, None))
    assert memory.parameters == memory.gradients == 4 * (WIDTH * CLASSES + CLASSES)
    assert memory.optimizer == state
    assert memory.peak is None
