"""The gate where a teacher says nothing about a whole batch, as happens where texts of one length stand together."""

from __future__ import annotations

import torch

from mmkd.losses.gated_kl import gate_weights, imbalance

WEIGHTS = torch.tensor([1.0, 2.0, 1.0], dtype=torch.float64)


def gradient(scores: torch.Tensor, speaks: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    leaf = scores.clone().requires_grad_()
    (found,) = torch.autograd.grad(imbalance(gate_weights(leaf, speaks), speaks, weights), leaf)
    return found


def test_a_teacher_that_is_silent_on_every_row_has_no_part_and_leaves_the_others_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(3, 5, generator=generator, dtype=torch.float64)
    speaks = torch.ones(3, 5, dtype=torch.bool)
    speaks[1] = False
    found = gradient(scores, speaks, WEIGHTS)
    others = torch.tensor([0, 2])
    alone = gradient(scores[others], speaks[others], WEIGHTS[others])
    assert found[1].eq(0).all()
    assert torch.allclose(found[others], alone, rtol=0, atol=1e-14) and alone.ne(0).any()
