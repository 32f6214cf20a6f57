"""Counted operations against counts by hand: a multiplication and an addition are two."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmkd.watch.flops import FlopCount

B, IN, MID, OUT = 5, 3, 7, 2


def test_a_perceptron_forward_and_backward() -> None:
    network = nn.Sequential(nn.Linear(IN, MID), nn.ReLU(), nn.Linear(MID, OUT))
    values = torch.randn(B, IN)
    network(values)  # not counted
    with FlopCount() as count:
        count.begin("student")
        out = network(values)
        count.begin("backward")
        out.sum().backward()
        count.begin("")
        network(values)  # not counted either
    forward = 2 * B * (IN * MID + MID * OUT)
    # every weight has a gradient; of the two layers' inputs only the second's, since the data need none
    backward = 2 * B * (IN * MID + MID * OUT) + 2 * B * MID * OUT
    assert count.flops == {"student": forward, "backward": backward}


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_convolution_counts_its_groups(groups: int, stride: int) -> None:
    size, side = 6, 6 // stride
    network = nn.Conv2d(4, 8, 3, stride=stride, padding=1, groups=groups)
    values = torch.randn(B, 4, size, size, requires_grad=True)
    with FlopCount() as count:
        count.begin("student")
        out = network(values)
        count.begin("backward")
        out.sum().backward()
    forward = 2 * B * side * side * 8 * (4 // groups) * 3 * 3
    assert count.flops == {"student": forward, "backward": 2 * forward}


def test_a_transposed_convolution_counts_the_positions_that_it_reads() -> None:
    network = nn.ConvTranspose2d(4, 6, 2, stride=2)
    with FlopCount() as count:
        count.begin("student")
        out = network(torch.randn(B, 4, 3, 3))
        count.begin("backward")
        out.sum().backward()
    forward = 2 * B * 3 * 3 * 4 * 6 * 2 * 2
    assert count.flops == {"student": forward, "backward": forward}  # of the weights alone
