"""The two divergences that it tends to, its symmetry and its bound."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mmkd.losses import jsd as module
from mmkd.losses.jsd import jsd
from mmkd.losses.logit_kl import logit_kl
from mmkd.losses.reverse_kl import reverse_kl


def logits() -> tuple[Tensor, Tensor]:
    student, teacher = torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2
    return student.requires_grad_(), teacher


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_limits_are_the_two_divergences(temperature: float) -> None:
    """Values and gradients of JSD / beta as beta goes to 0, and of JSD / (1 - beta) as it goes to 1."""
    student, teacher = logits()
    small = 1e-6
    near = [jsd(student, teacher, small, temperature) / small, jsd(student, teacher, 1 - small, temperature) / small]
    limits = [logit_kl(student, teacher, temperature), reverse_kl(student, teacher, temperature)]
    for value, limit in zip(near, limits, strict=True):
        torch.testing.assert_close(value, limit, rtol=1e-4, atol=0)
        gradients = [torch.autograd.grad(each, student)[0] for each in (value, limit)]
        torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-6)


def test_exchanged_networks_exchange_beta() -> None:
    student, teacher = logits()
    torch.testing.assert_close(jsd(student, teacher, 0.3, 2.0), jsd(teacher, student, 0.7, 2.0), rtol=1e-12, atol=0)
    assert (jsd(student, teacher, 0.3, 2.0) - jsd(teacher, student, 0.3, 2.0)).abs() > 1e-3


def test_two_networks_that_exclude_each_other_reach_the_bound() -> None:
    value = jsd(torch.tensor([[500.0, 0.0]]), torch.tensor([[0.0, 500.0]]), 0.5, 1.0)
    assert value.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize("beta", [0.0, 1.0])
def test_the_ends_are_refused(beta: float) -> None:
    with pytest.raises(ValidationError):
        module.Config(task="sentiment", teacher="bert", beta=beta)
