"""What the discrepancy of channels sees: the set of their patterns."""

from __future__ import annotations

import pytest
import torch

from mmkd.losses.nst import nst

TEACHER = torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
KEEP = torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [True] * 2 + [False] * 3])


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_order_strength_and_copies_of_channels_play_no_part(degree: int) -> None:
    student = torch.cat([TEACHER[..., [2, 0, 3, 1]] * 5, TEACHER * 0.3], -1).requires_grad_()
    value = nst(student, TEACHER, KEEP, degree, 0.5)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-9


def test_an_even_kernel_does_not_see_signs() -> None:
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    assert nst(TEACHER * signs, TEACHER, KEEP, 2, 0.0).item() == pytest.approx(0, abs=1e-12)
    assert nst(TEACHER * signs, TEACHER, KEEP, 3, 0.0).item() > 0.1


def test_a_known_value() -> None:
    """One channel each, (1, 0) and (1, 1) / sqrt(2): 1 + 1 - 2 * (1 / 2)."""
    student, teacher = torch.tensor([[[3.0], [0.0]]]), torch.tensor([[[2.0], [2.0]]])
    assert nst(student, teacher, torch.ones(1, 2, dtype=torch.bool), 2, 0.0).item() == pytest.approx(1.0)
