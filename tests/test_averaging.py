"""Averages of weights against loops over the steps, and the loop that keeps them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from mmkd.averaging import Averaged
from mmkd.config.experiment import Average
from mmkd.encoders.image import ImageEncoder
from test_train import SETTINGS, corpus_of, players_of, run
from tiny_project import image_config, same_weights

STEPS = [2.0, 6.0, 4.0, 8.0]
"""The one weight after each step."""


def averages(config: Average | None) -> list[float]:
    network = nn.Linear(1, 1, bias=False)
    averaged, found = Averaged(network, config), []
    for number, value in enumerate(STEPS, start=1):
        nn.init.constant_(network.weight, value)
        averaged.update(number / len(STEPS))
        found.append(averaged.network.weight.item())
    return found


def test_older_weights_fade() -> None:
    expected, average = [], STEPS[0]
    for value in STEPS:
        average = 0.75 * average + 0.25 * value
        expected.append(average)
    assert averages(Average(decay=0.75)) == pytest.approx(expected)


def test_all_weights_count_alike_from_the_start_on() -> None:
    assert averages(Average(kind="mean")) == pytest.approx([2, 4, 4, 5])
    assert averages(Average(kind="mean", start=0.6)) == pytest.approx([2, 6, 4, 6])  # 4 and 8 count


def test_without_an_average_the_weights_are_themselves() -> None:
    assert averages(None) == STEPS


def test_statistics_of_batch_norms_are_averaged_and_counts_kept() -> None:
    network = nn.BatchNorm1d(1)
    averaged = Averaged(network, Average(kind="mean"))
    for value in (1.0, 3.0):
        network.running_mean.fill_(value)
        network.num_batches_tracked.fill_(int(value))
        averaged.update(1.0)
    assert averaged.network.running_mean.item() == 2.0
    assert averaged.network.num_batches_tracked.item() == 3


def test_the_loop_keeps_what_is_averaged(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path)
    plain, undelayed, faded = (
        run(players_of(corpus), corpus, tmp_path, settings=SETTINGS.model_copy(update={"average": average}))
        for average in (None, Average(decay=0.0), Average(decay=0.9))
    )
    assert same_weights(plain.weights, undelayed.weights)
    assert plain.weights.keys() == faded.weights.keys() and not same_weights(plain.weights, faded.weights)
    start, name = players_of(corpus).network.state_dict(), "heads.mood.weight"
    moved, lagging = (torch.dist(each.weights[name], start[name]) for each in (plain, faded))
    assert 0 < lagging < moved


def test_the_average_of_a_compiled_encoder_reads_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda made, **how: lambda pixels: made(pixels))  # a function, as compiled
    encoder = ImageEncoder(image_config())
    encoder.compile_network()
    averaged = Averaged(encoder, Average(decay=0.0))
    averaged.update(1.0)
    pixels, present = torch.zeros(2, 3, 48, 48, dtype=torch.uint8), torch.ones(2, dtype=torch.bool)
    with torch.no_grad():
        before = averaged.network.eval()(pixels, present).pooled.clone()
        for parameter in encoder.parameters():
            parameter.add_(1.0)  # the next step, which the average has not seen
        after = averaged.network(pixels, present).pooled
    assert torch.equal(before, after)
