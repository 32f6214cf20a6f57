"""What the paper derives its loss from, and the students at which public code has an infinite value."""

from __future__ import annotations

import pytest
import torch

from mmkd.losses.dkd import dkd
from mmkd.losses.logit_kl import logit_kl


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_with_the_teachers_rest_for_beta_it_is_hintons_loss(temperature: float) -> None:
    """KL = TCKD + (1 - p_c) NCKD, row by row (the paper's section 3.1)."""
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 8, 5, generator=generator, dtype=torch.float64) * 3
    labels = torch.randint(5, (8,), generator=generator)
    rest = 1 - (teacher / temperature).softmax(-1)[torch.arange(8), labels]
    for n in range(8):
        row = slice(n, n + 1)
        found = dkd(student[row], teacher[row], labels[row], 1.0, rest[n].item(), temperature)
        torch.testing.assert_close(found, logit_kl(student[row], teacher[row], temperature), rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("label", [0, 1])
def test_a_student_that_is_sure_has_a_finite_value(label: int) -> None:
    """With logits 2000 apart, right or wrong; at T = 1 each nat of the teacher's rest costs about 2000."""
    student = torch.tensor([[2000.0, 0.0, 0.0]], requires_grad=True)
    value = dkd(student, torch.tensor([[1.0, 0.0, -1.0]]), torch.tensor([label]), 1.0, 8.0, 1.0)
    value.backward()
    assert value.isfinite()
    assert value > 100
    assert student.grad.isfinite().all()
