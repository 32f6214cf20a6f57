"""The paper's identity: Hinton's loss and Renyi's entropy of the student."""

from __future__ import annotations

import pytest
import torch

from mmkd.losses.logit_kl import logit_kl
from mmkd.losses.ttm import ttm


@pytest.mark.parametrize("temperature", [0.5, 2.0, 4.0])
def test_it_is_hintons_loss_with_an_entropy_of_the_student(temperature: float) -> None:
    """KL(p_T || q) = T KL(p_T || q_T) + (T - 1) (H(p_T) - H_{1/T}(q)), values and gradients."""
    student, teacher = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    student.requires_grad_()
    order, soft = 1 / temperature, (teacher / temperature).softmax(-1)
    shannon = -(soft * soft.log()).sum(-1)
    renyi = student.softmax(-1).pow(order).sum(-1).log() / (1 - order)
    hinton = logit_kl(student, teacher, temperature) / temperature  # T^2 KL over T
    expected = hinton + (temperature - 1) * (shannon - renyi).mean()
    found = ttm(student, teacher, temperature)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    gradients = [torch.autograd.grad(value, student)[0] for value in (found, expected)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_at_temperature_one_it_is_hintons_loss(weighted: bool) -> None:
    student, teacher = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    torch.testing.assert_close(ttm(student, teacher, 1.0, weighted), logit_kl(student, teacher, 1.0))


def test_the_weight_lies_between_a_sure_and_a_uniform_teacher() -> None:
    """1, and K^(1 - 1/T)."""
    student = torch.tensor([[0.3, -1.0, 0.4, 0.2]], dtype=torch.float64)
    for teacher, weight in (([500.0, 0.0, 0.0, 0.0], 1.0), ([0.0] * 4, 4**0.75)):
        target = torch.tensor([teacher], dtype=torch.float64)
        torch.testing.assert_close(ttm(student, target, 4.0, weighted=True), weight * ttm(student, target, 4.0))
