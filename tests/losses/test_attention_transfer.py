"""What an attention map sees: where, not which channel and not how strong."""

from __future__ import annotations

import pytest
import torch

from mmkd.losses.attention_transfer import attention_transfer

KEEP = torch.tensor([[True, True, False]])


def test_channels_signs_and_strength_play_no_part() -> None:
    teacher = torch.tensor([[[1.0, -2.0], [0.5, 3.0], [9.0, 9.0]]], dtype=torch.float64)
    student = torch.tensor([[[2.0, 1.0, 0.0], [-3.0, 0.5, 0.0], [7.0, 0.0, 0.0]]], dtype=torch.float64) * 10
    student.requires_grad_()
    value = attention_transfer(student, teacher, KEEP, 2.0)
    value.backward()
    assert value.item() == pytest.approx(0, abs=1e-12)
    assert student.grad.abs().max() < 1e-9


def test_attention_to_other_positions_is_two() -> None:
    """The squared distance of two vectors of length 1 at a right angle."""
    student, teacher = torch.zeros(1, 3, 2), torch.zeros(1, 3, 4)
    student[0, 0], teacher[0, 1] = 1.0, 1.0
    assert attention_transfer(student, teacher, KEEP, 2.0).item() == pytest.approx(2.0)


def test_a_known_value() -> None:
    """Maps (1, 4) and (4, 1), of the length sqrt(17): 18 / 17."""
    student, teacher = torch.tensor([[[1.0], [2.0], [5.0]]]), torch.tensor([[[2.0], [1.0], [5.0]]])
    assert attention_transfer(student, teacher, KEEP, 2.0).item() == pytest.approx(18 / 17)
