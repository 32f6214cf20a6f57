"""The memory of gradients: as wide as the first step, or a loaded state, says."""

from __future__ import annotations

import torch
from torch import nn

from mmkd.weighting._memory import GradientMemory


def test_it_starts_at_zero_and_keeps_rows() -> None:
    memory = GradientMemory(3)
    assert memory.rows([0, 2], torch.ones(2, 4)).tolist() == [[0] * 4] * 2
    memory.keep([2], torch.full((1, 4), 7.0))
    assert memory.rows([1, 2], torch.ones(2, 4)).tolist() == [[0] * 4, [7] * 4]


def test_a_state_brings_its_width() -> None:
    """Into a memory that has none yet, inside another module too, and back into one that is empty."""
    full, new = nn.ModuleList([GradientMemory(2)]), nn.ModuleList([GradientMemory(2)])
    full[0].rows([0], torch.ones(1, 5, dtype=torch.float64))
    full[0].keep([1], torch.full((1, 5), 3.0, dtype=torch.float64))
    empty = GradientMemory(2).state_dict(prefix="0.")
    new.load_state_dict(full.state_dict())
    assert torch.equal(new[0].values, full[0].values)
    full.load_state_dict(empty)
    assert full[0].values.shape == (2, 0)
