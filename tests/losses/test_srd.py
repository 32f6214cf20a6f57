"""What the normalisation takes out, and how the value depends on the number of rows."""

from __future__ import annotations

import math

import pytest
import torch

from mmkd.losses.srd import srd

GENERATOR = torch.Generator().manual_seed(0)
STUDENT, TEACHER = (torch.randn(9, 4, dtype=torch.float64, generator=GENERATOR) * 20 for _ in range(2))


def test_shift_and_scale_of_a_channel_play_no_part() -> None:
    """But for the 1e-5 that is added to a variance of some hundreds."""
    scale, shift = torch.rand(4, dtype=torch.float64) + 0.5, torch.randn(4, dtype=torch.float64)
    assert srd(STUDENT * scale + shift, TEACHER, 4.0).item() == pytest.approx(
        srd(STUDENT, TEACHER, 4.0).item(), abs=1e-5
    )


def test_each_row_twice_adds_the_logarithm_of_two() -> None:
    twice = srd(STUDENT.repeat(2, 1), TEACHER.repeat(2, 1), 4.0)
    assert twice.item() == pytest.approx(srd(STUDENT, TEACHER, 4.0).item() + math.log(2), abs=1e-6)


def test_agreement_is_the_least_value_and_has_no_gradient() -> None:
    student = TEACHER.clone().requires_grad_()
    value = srd(student, TEACHER, 4.0)
    value.backward()
    assert value.item() == pytest.approx(math.log(1e-5))
    assert not student.grad.any()


def test_one_row_has_no_gradient() -> None:
    student = STUDENT[:1].clone().requires_grad_()
    srd(student, TEACHER[:1], 4.0).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e-9
